"""Finds and loads the compiled operators; if they are missing, it says why."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from . import sources

CAPABILITY_VARIABLE = 'DDF_SEG_CPU_CAPABILITY'
_SOURCE = '`{}pip install --no-build-isolation <checkout of ddf_seg>`'


@dataclass(frozen=True)
class _Library:
    """A device's compiled operators.

    Attributes:
        file: beside the package's modules.
        built_for: its function that says what it is compiled for, or what is wrong.
        how_to: where it comes from.
    """

    file: str
    built_for: str
    how_to: str


# As Python names a library of the stable ABI
_SUFFIX = '.pyd' if sys.platform == 'win32' else '.abi3.so'
LIBRARIES = {
    'cpu': _Library(
        f'_C_cpu{_SUFFIX}',
        'ddf_seg_cpu_capability',
        f'Install from source where there is a C++17 compiler: {_SOURCE.format("")}, or install a '
        'wheel.',
    ),
    'cuda': _Library(
        f'_C_cuda{_SUFFIX}',
        'ddf_seg_cuda_architectures',
        "Install from source where CUDA's compiler nvcc and a CUDA build of torch are: "
        f'{_SOURCE.format("FORCE_CUDA=1 ")} (CUDA_HOME names the toolkit, TORCH_CUDA_ARCH_LIST '
        'the architectures).',
    ),
}


@dataclass(frozen=True)
class NativeStatus:
    """What became of a device's compiled operators.

    Attributes:
        device_type: 'cpu' or 'cuda'.
        built_for: the CPU's instruction set in use ('default', 'avx2' or 'avx512'), or the GPUs
            that the kernels are compiled for ('8.0 9.0+PTX', as in TORCH_CUDA_ARCH_LIST); None if
            they are not loaded.
        reason: why not, and what to do about it; empty if they are.
    """

    device_type: str
    built_for: str | None
    reason: str = ''

    def __str__(self) -> str:
        if self.built_for is not None:
            return f'compiled ({self.device_type.upper()}, {self.built_for})'
        return f'plain torch: {self.reason}'


def library_path(device_type: str) -> Path:
    """Where the compiled operators of a device lie, if there are any."""
    return Path(__file__).resolve().parent.parent / LIBRARIES[device_type].file


@functools.cache
def load(device_type: str) -> NativeStatus:
    """Loads the compiled operators of a device type ('cpu' or 'cuda'), once.

    Those for CUDA if torch has CUDA; a GPU need not be there. The environment variable
    DDF_SEG_CPU_CAPABILITY ('default', 'avx2', 'avx512') forces an instruction set, if it is set
    before the first import of ddf_seg.ops.

    Raises:
        RuntimeError: if DDF_SEG_CPU_CAPABILITY asks for an instruction set that the machine or
            the build does not have.
    """
    if device_type == 'cuda' and torch.version.cuda is None:
        reason = f'torch {torch.__version__} is a build without CUDA.'
        return NativeStatus(device_type, None, reason)
    entry, path = LIBRARIES[device_type], library_path(device_type)
    if not path.is_file():
        return NativeStatus(device_type, None, f'{path} does not exist. {entry.how_to}')
    folder = path.parent.parent / 'ops'
    try:
        if sources.is_stale(path, folder):
            problem = f'{path} was compiled from other sources than those in {folder}.'
            cure = f'Compile them: `make setup` in {folder.parent}. {entry.how_to}'
            return NativeStatus(device_type, None, f'{problem} {cure}')
        library = ctypes.CDLL(str(path))
    except OSError as error:
        problem = f'{path} does not load under torch {torch.__version__}: {error}.'
        return NativeStatus(device_type, None, f'{problem} {entry.how_to}')
    function = library[entry.built_for]
    function.restype = ctypes.c_char_p
    built_for: str = function().decode()
    if built_for.startswith(CAPABILITY_VARIABLE):
        raise RuntimeError(f'{built_for}, got {os.environ.get(CAPABILITY_VARIABLE)!r}')
    torch.ops.load_library(str(path))
    return NativeStatus(device_type, built_for)


@contextmanager
def launched_kernels() -> Iterator[list[str]]:
    """The names of the CUDA kernels that were launched inside, in their order, once it is left.

    Of all threads of this process, at most the last 64; none where there are no CUDA kernels. A
    CUDA graph launches its kernels when it is captured, not when it is replayed.
    """
    names: list[str] = []
    if load('cuda').built_for is None:
        yield names
        return
    library = ctypes.CDLL(str(library_path('cuda')))
    library.ddf_seg_cuda_launches.restype = ctypes.c_uint64
    library.ddf_seg_cuda_launched.restype = ctypes.c_char_p
    library.ddf_seg_cuda_launched.argtypes = [ctypes.c_uint64]
    before = library.ddf_seg_cuda_launches()
    yield names
    after = library.ddf_seg_cuda_launches()
    for number in range(max(before, after - 64), after):
        names.append(library.ddf_seg_cuda_launched(number).decode())


def is_native_available() -> bool:
    """Whether the operators run compiled code on the CPU; `load` says why not."""
    return load('cpu').built_for is not None


@functools.cache
def warn_if_plain(device_type: str) -> None:
    """Warns, once per process and device type, that operators compiled for it run in plain torch.

    Args:
        device_type: of LIBRARIES.
    """
    status = load(device_type)
    if status.built_for is None:
        where = 'CUDA tensors: ' if device_type == 'cuda' else ''
        warnings.warn(f'{where}ddf_seg.ops runs in {status}', stacklevel=3)
