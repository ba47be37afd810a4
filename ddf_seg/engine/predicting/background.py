"""Work beside the network: files are read ahead of it, and results written behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


@contextmanager
def read_ahead(
    read: Callable[[_Item], _Result], items: Iterable[_Item], depth: int, threads: int = 1
) -> Iterator[Iterator[tuple[_Item, Future[_Result]]]]:
    """Every item, and what a thread reads for it.

    Args:
        read: of an item; with one thread, item by item in their order.
        items: what to read.
        depth: how many are read while another is worked on.
        threads: how many read.
    """
    pool = ThreadPoolExecutor(threads, 'read')
    try:
        yield _ahead(pool, read, items, depth)
    finally:
        pool.shutdown(cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[_Item], _Result], items: Iterable[_Item], depth: int
) -> Iterator[tuple[_Item, Future[_Result]]]:
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(read, item)))
        if len(waiting) > depth:
            yield waiting.popleft()
    while waiting:
        yield waiting.popleft()


class Writer:
    """Calls functions in threads, and waits where too many calls are not done.

    At the end of its `with` it waits for all, also after Ctrl-C; after another error it drops what
    has not begun.

    Args:
        depth: how many calls may be open.
        threads: how many work; with one, call by call in their order.
    """

    def __init__(self, depth: int, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, 'write')
        self._depth = depth
        self._open: deque[tuple[Future[Any], Callable[[Future[Any]], Any]]] = deque()

    def submit(self, done: Callable[[Future[Any]], Any], call: Callable[..., Any], *a: Any) -> None:
        """Has a thread call a function.

        Args:
            done: gets the finished call, in this thread, at the latest at the end; in the order of
                the calls. What it raises is raised here.
            call: the function.
            a: its arguments.
        """
        self._open.append((self._pool.submit(call, *a), done))
        self._finish(self._depth)

    def _finish(self, open_calls: int) -> None:
        while len(self._open) > open_calls:
            future, done = self._open[0]
            # Waits; what the call raised, `done` gets from its result.
            future.exception()
            self._open.popleft()
            done(future)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._finish(0)
        finally:
            self._pool.shutdown(cancel_futures=True)
