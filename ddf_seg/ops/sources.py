"""Which C++ and CUDA sources a library was compiled from; setup.py runs this file by itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

# What stands before the digest in a library (ops/binding/exports.h).
_BEFORE = b'ddf_seg sources '
_SUFFIXES = ('.h', '.cuh', '.cpp', '.cu')


def digest(folder: Path) -> str:
    """16 hexadecimal digits that tell the sources in a folder from others."""
    # An editor's lock, a link to nowhere, may be named as a source.
    sources = sorted(p for p in folder.rglob('*') if p.suffix in _SUFFIXES and p.is_file())
    found = hashlib.sha256()
    for path in sources:
        found.update(path.relative_to(folder).as_posix().encode() + b'\0' + path.read_bytes())
    return found.hexdigest()[:16]


def is_stale(library: Path, folder: Path) -> bool:
    """Whether a library was compiled from other sources than those in a folder, if that is there.

    In a checkout the modules are of today, and call what the library of yesterday may not have. The
    file is read, not loaded: loading registers its kernels.
    """
    # Beside an installed package there may be another one of that name.
    if not (folder / 'binding').is_dir():
        return False
    return _BEFORE + digest(folder).encode() not in library.read_bytes()
