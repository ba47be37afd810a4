"""Work beside the network: files are read ahead of it, and results written behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')

# Bytes that may wait before the network, and as many behind it: seven photos of 12 megapixels, each
# with what the network sees of it
ROOM = 1 << 29


@contextmanager
def read_ahead(
    read: Callable[[_Item], _Result],
    items: Iterable[_Item],
    size: Callable[[_Result], int],
    guess: Callable[[_Item], int],
    depth: int,
    threads: int = 1,
) -> Iterator[Iterator[tuple[_Item, Future[_Result]]]]:
    """Every item, and what a thread reads for it.

    Args:
        read: of an item; with one thread, item by item in their order.
        items: what to read.
        size: bytes of what was read.
        guess: bytes that an item may come to. One before it that came to more is believed instead.
        depth: how many are read while another is worked on, as long as `ROOM` holds them.
        threads: how many read.
    """
    pool = ThreadPoolExecutor(threads, 'read')
    try:
        yield _ahead(pool, read, items, size, guess, depth)
    finally:
        pool.shutdown(cancel_futures=True)


class _Reading(NamedTuple):
    item: Any
    future: Future[Any]
    expected: int

    def bytes_of(self, size: Callable[[Any], int]) -> int:
        """Of what was read; as long as it is being read, what is expected."""
        if not self.future.done():
            return self.expected
        return 0 if self.future.exception() else size(self.future.result())


def _ahead(
    pool: ThreadPoolExecutor,
    read: Callable[[_Item], _Result],
    items: Iterable[_Item],
    size: Callable[[_Result], int],
    guess: Callable[[_Item], int],
    depth: int,
) -> Iterator[tuple[_Item, Future[_Result]]]:
    waiting: deque[_Reading] = deque()
    before = 0
    for item in items:
        while waiting:
            held = sum(reading.bytes_of(size) for reading in waiting)
            if len(waiting) <= depth and held + max(guess(item), before) <= ROOM:
                break
            oldest = waiting.popleft()
            yield oldest.item, oldest.future
            # Whoever asks for the next has waited for this one, and is done with it.
            before = oldest.bytes_of(size)
            del oldest
        waiting.append(_Reading(item, pool.submit(read, item), max(guess(item), before)))
    while waiting:
        oldest = waiting.popleft()
        yield oldest.item, oldest.future


class Writer:
    """Calls functions in threads, and waits where too many calls are not done, or too large ones.

    At the end of its `with` it waits for all, also after Ctrl-C; after another error it drops what
    has not begun.

    Args:
        depth: how many calls may be open.
        threads: how many work; with one, call by call in their order.
    """

    def __init__(self, depth: int, threads: int = 1) -> None:
        self._pool = ThreadPoolExecutor(threads, 'write')
        self._depth = depth
        self._open: deque[tuple[Future[Any], Callable[[Future[Any]], Any], int]] = deque()

    def submit(
        self, size: int, done: Callable[[Future[Any]], Any], call: Callable[..., Any], *a: Any
    ) -> None:
        """Has a thread call a function.

        Args:
            size: bytes that it holds until it is done.
            done: gets the finished call, in this thread, at the latest at the end; in the order of
                the calls. What it raises is raised here.
            call: the function.
            a: its arguments.
        """
        self._open.append((self._pool.submit(call, *a), done, size))
        self._finish(self._depth)

    def _finish(self, open_calls: int) -> None:
        while len(self._open) > open_calls or sum(size for *_, size in self._open) > ROOM:
            future, done, _ = self._open[0]
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
