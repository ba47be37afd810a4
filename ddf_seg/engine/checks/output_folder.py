"""Folders that a run writes to: whether it can, and that no other run does."""

from __future__ import annotations

import os
import shlex
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from ...errors import UsageError

LOCK = '.lock'


def check_folder(path: str | Path, option: str) -> None:
    """Makes sure that a folder exists, or is made, and that files can be written to it.

    Args:
        path: the folder.
        option: what asks for it, as the message should say, e.g. '--work-dir'.

    Raises:
        UsageError: it is a file, lies below one, is read-only, or its disk is full.
    """
    folder = Path(path).absolute()
    for parent in (folder, *folder.parents):
        if parent.exists() and not parent.is_dir():
            what = 'is a file' if parent == folder else f'lies below {parent}, which is a file'
            raise UsageError(f'{option}: expected a folder, but {path} {what}')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # A full disk still makes empty files.
            file.write(bytes(4096))
    except OSError as error:
        raise UsageError(f'{option}: {path} cannot be written to: {error.strerror}') from error


def lock(folder: str | Path) -> IO[str] | None:
    """Keeps a work dir from being used by two trainings at once.

    Returns:
        A file; the lock ends when it is closed, and with the process, however that ends. None where
        the system knows no locks.

    Raises:
        UsageError: another process holds it. Names that process.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        # Windows
        return None
    path = Path(folder, LOCK)
    file = open(path, 'a+')  # noqa: SIM115
    try:
        # Unlike flock's, not shared with data workers, which may outlive a killed training.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        file.seek(0)
        holder = file.read().strip() or 'another process'
        file.close()
        raise UsageError(
            f'--work-dir: {folder} is in use by {holder}. Two trainings would overwrite each '
            "other's checkpoints: wait for that one, or give another folder"
        ) from error
    except OSError:
        file.close()
        return None
    file.truncate(0)
    started = time.strftime('%Y-%m-%d %H:%M:%S')
    command = shlex.join(sys.argv)
    file.write(f'process {os.getpid()} on {socket.gethostname()}, started {started}: {command}\n')
    file.flush()
    return file
