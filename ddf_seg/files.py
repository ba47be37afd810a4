"""Files: those below a folder, writing them whole, and work on many in several processes."""

from __future__ import annotations

import errno
import os
import re
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


def files_below(
    folder: Path,
    leave_out: Callable[[Path], bool] = lambda _: False,
    unreadable: dict[Path, str] | None = None,
) -> list[Path]:
    """The files below a folder, sorted, symbolic links followed.

    Hidden files and folders are left out, which macOS (`._a.png`) and Jupyter
    (`.ipynb_checkpoints`) leave beside the real ones; so are pipes and the like, and a folder
    that is a link to one that it lies in. A link that leads nowhere counts as a file: whoever reads
    it gets to know.

    Args:
        folder: where to start.
        leave_out: says of a folder below whether to pass it over.
        unreadable: gets the folders that cannot be listed, and why; None: they are an error.

    Raises:
        OSError: a folder cannot be listed.
    """
    return list(_walk(folder, leave_out, unreadable, frozenset()))


def _walk(
    folder: Path,
    leave_out: Callable[[Path], bool],
    unreadable: dict[Path, str] | None,
    above: frozenset[tuple[int, int]],
) -> Iterator[Path]:
    try:
        status = folder.stat()
        entries = sorted(folder.iterdir())
    except OSError as error:
        if unreadable is None:
            raise
        unreadable[folder] = error.strerror or str(error)
        return
    own = (status.st_dev, status.st_ino)
    if own in above:
        return
    for entry in entries:
        if entry.name.startswith('.'):
            continue
        if os.path.isdir(entry):
            if not leave_out(entry):
                yield from _walk(entry, leave_out, unreadable, above | {own})
        # To read a pipe takes forever.
        elif os.path.isfile(entry) or not os.path.exists(entry):
            yield entry


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all."""
    unfinished = unfinished_beside(path)
    with replacing(path, unfinished):
        unfinished.write_bytes(content)


def unfinished_beside(path: Path, suffix: str = '') -> Path:
    """What a file is called until it is whole: no other thread or process uses the name.

    Args:
        path: the file.
        suffix: that the name has to end in, with its dot.
    """
    return path.with_name(f'.{os.getpid()}-{threading.get_ident()}.tmp{suffix}')


def remove_unfinished(folder: Path) -> None:
    """Removes files of `unfinished_beside` in a folder whose process was killed."""
    for file in folder.glob('.*.tmp*'):
        name = re.fullmatch(r'\.(\d+)-\d+\.tmp(\.\w+)?', file.name)
        if name and not _may_run(int(name[1])):
            file.unlink(missing_ok=True)


def _may_run(process: int) -> bool:
    if os.name == 'nt':
        # To ask would be to send it Ctrl-C.
        return True
    try:
        os.kill(process, 0)
        # One that was killed may wait for its parent to take note.
        state = Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        # Another user's, or a system without /proc
        return True
    return state != 'Z'


@contextmanager
def replacing(path: Path, unfinished: Path) -> Iterator[None]:
    """Puts a file in the place of another when it is whole, and leaves no part of it behind.

    Args:
        path: the place.
        unfinished: the file until then, on the same disk.
    """
    try:
        yield
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def is_disk_error(error: BaseException) -> bool:
    """Whether nothing else can be written either: disk full, quota used up, not writable."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


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
        function: importable, its results must be picklable.
        items: what to work on.
        processes: how many; with 1 or fewer the work is done here.
        context: of multiprocessing: how processes are started.
        start: a function that each process calls first, and its argument.

    Raises:
        OSError: a process was killed, as the system does where memory runs out.
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
