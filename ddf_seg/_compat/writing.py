"""Writing files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, get_file_backend, register_backend

from ..files import replacing


class WholeFileBackend(LocalBackend):
    """mmengine's backend for local files, which leaves the old file or the new, never a part."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes bytes to a temporary name beside the file, flushes them, and renames it.

        Raises:
            OSError: what stands in the way, e.g. a full disk. The file is as it was before.
        """
        # A link stays one, and what is no regular file (/dev/stdout) cannot be replaced.
        target = os.path.realpath(filepath)
        if os.path.exists(target) and not os.path.isfile(target):
            super().put(obj, filepath)
            return
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        # One name, so that a run that goes on after a kill writes over what the kill left.
        unfinished = Path(f'{target}.tmp')
        try:
            with replacing(Path(target), unfinished), open(unfinished, 'wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            if error.filename is None:
                # write() and fsync() do not say of what.
                wanted = f'{error.strerror}, {len(obj):,} bytes wanted'
                raise OSError(error.errno, wanted, str(filepath)) from error
            raise
        _flush_folder(folder)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """As `put`, for text."""
        self.put(obj.encode(encoding), filepath)


def _flush_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Not every file system flushes folders.
        pass
    finally:
        os.close(descriptor)


def mend_writing() -> bool:
    """Writes checkpoints whole or not at all.

    `LocalBackend.put` (mmengine 0.10.7, onedl-mmengine 0.10.12) opens the file itself for
    writing: a kill, or a disk that is full, leaves a part of a checkpoint where the last one was.
    Registering another backend for local files is mmengine's own way to change that.
    """
    backend = type(get_file_backend(''))
    if backend is LocalBackend and 'replace' not in LocalBackend.put.__code__.co_names:
        register_backend('local', WholeFileBackend, force=True, prefixes='')
        return True
    return backend is WholeFileBackend
