"""The files below a folder, and work on many of them in several processes."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, TypeVar

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


def files_below(folder: Path, _ancestors: frozenset[tuple[int, int]] = frozenset()) -> list[Path]:
    """The files below a folder, sorted, symbolic links followed.

    Hidden files and folders, which macOS (``._a.png``) and Jupyter (``.ipynb_checkpoints``) leave
    beside the real ones, are left out. So is a folder that is a link to one that it lies in. A link
    that leads nowhere counts as a file, so whoever reads it will notice.

    Raises:
        OSError: If a folder cannot be read.
    """
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in _ancestors:
        return []
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith('.'):
            continue
        if path.is_dir():
            found += files_below(path, _ancestors | {identity})
        elif path.is_file() or path.is_symlink():
            found.append(path)
    return found


@contextmanager
def mapped(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    processes: int,
    context: BaseContext,
    start: tuple[Callable[..., Any], Any] | None = None,
) -> Iterator[Iterator[_Result]]:
    """The function's results in the order of the items, from several processes.

    Args:
        function: Importable; its results must be picklable.
        items: What to work on.
        processes: How many; with 1 or fewer the work is done here.
        context: Of multiprocessing: how processes are started.
        start: A function that each process calls first, and its argument.

    Raises:
        OSError: If a process was killed, as the system does where memory runs out.
    """
    processes = min(processes, len(items))
    if processes <= 1:
        yield map(function, items)
        return
    # multiprocessing.Pool would wait for ever for a process that was killed.
    pool = ProcessPoolExecutor(processes, context, _begin, (start,))
    try:
        yield pool.map(function, items, chunksize=max(1, min(64, len(items) // (8 * processes))))
    except BrokenProcessPool as error:
        raise OSError(
            f'one of {processes} processes was killed; if memory ran out, fewer need less: --jobs 1'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(start: tuple[Callable[..., Any], Any] | None) -> None:
    # Ctrl-C reaches every process of a terminal's job; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        function, argument = start
        function(argument)


def _end_with_parent() -> None:
    """Where the parent is killed, the executor's processes would stay."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
