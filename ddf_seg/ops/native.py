"""Finds and loads the compiled operators, and says why they are missing where they are."""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

CAPABILITY_VARIABLE = 'DDF_SEG_CPU_CAPABILITY'
_LIBRARY = '_C_cpu.abi3.so'
_CUDA_LIBRARY = '_C_cuda.abi3.so'
_HOW_TO = (
    'Install from source where there is a C++17 compiler: '
    '`pip install --no-build-isolation <checkout of ddf_seg>`, or install a wheel.'
)
_HOW_TO_CUDA = (
    "Install from source where CUDA's compiler nvcc and a CUDA build of torch are: "
    '`FORCE_CUDA=1 pip install --no-build-isolation <checkout of ddf_seg>` '
    '(CUDA_HOME names the toolkit, TORCH_CUDA_ARCH_LIST the architectures).'
)


@dataclass(frozen=True)
class NativeStatus:
    """What became of the compiled operators.

    Attributes:
        capability: the instruction set in use ('default', 'avx2' or 'avx512'); None if the
            operators run in plain torch.
        reason: why they do, and what to do about it; empty if they do not.
    """

    capability: str | None
    reason: str = ''

    def __str__(self) -> str:
        if self.capability is not None:
            return f'compiled (CPU, {self.capability})'
        return f'plain torch: {self.reason}'


@functools.cache
def load() -> NativeStatus:
    """Loads the compiled operators, once.

    The environment variable DDF_SEG_CPU_CAPABILITY ('default', 'avx2', 'avx512') forces an
    instruction set, if it is set before the first import of ddf_seg.ops.

    Raises:
        RuntimeError: if DDF_SEG_CPU_CAPABILITY asks for an instruction set that the machine or
            the build does not have.
    """
    path = Path(__file__).resolve().parent.parent / _LIBRARY
    if not path.is_file():
        return NativeStatus(None, f'{path} does not exist. {_HOW_TO}')
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return NativeStatus(
            None, f'{path} does not load under torch {torch.__version__}: {error}. {_HOW_TO}'
        )
    library.ddf_seg_cpu_capability.restype = ctypes.c_char_p
    capability: str = library.ddf_seg_cpu_capability().decode()
    if capability.startswith(CAPABILITY_VARIABLE):
        raise RuntimeError(f'{capability}, got {os.environ.get(CAPABILITY_VARIABLE)!r}')
    torch.ops.load_library(str(path))
    return NativeStatus(capability)


@dataclass(frozen=True)
class CudaStatus:
    """What became of the CUDA kernels.

    Attributes:
        architectures: what they are compiled for ('8.0 9.0+PTX', as in TORCH_CUDA_ARCH_LIST);
            None if they are not loaded.
        reason: why not, and what to do about it; empty if they are.
    """

    architectures: str | None
    reason: str = ''


@functools.cache
def load_cuda() -> CudaStatus:
    """Loads the CUDA kernels, once, if torch has CUDA; a GPU need not be there."""
    if torch.version.cuda is None:
        return CudaStatus(None, f'torch {torch.__version__} is a build without CUDA.')
    path = Path(__file__).resolve().parent.parent / _CUDA_LIBRARY
    if not path.is_file():
        return CudaStatus(None, f'{path} does not exist. {_HOW_TO_CUDA}')
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return CudaStatus(
            None, f'{path} does not load under torch {torch.__version__}: {error}. {_HOW_TO_CUDA}'
        )
    library.ddf_seg_cuda_architectures.restype = ctypes.c_char_p
    torch.ops.load_library(str(path))
    return CudaStatus(library.ddf_seg_cuda_architectures().decode())


def check_device(device_type: str) -> None:
    """Refuses CUDA tensors where the operators are compiled, but not for CUDA.

    Where nothing is compiled they run in plain torch, on any device.

    Raises:
        RuntimeError: as said; the message tells why the CUDA kernels are missing.
    """
    if device_type == 'cuda' and is_native_available() and load_cuda().architectures is None:
        raise RuntimeError(
            'ddf_seg.ops: expected a CPU tensor, got a CUDA tensor, and there are no CUDA kernels: '
            f'{load_cuda().reason} ddf_seg.ops.reference runs in plain torch on any device.'
        )


def is_native_available() -> bool:
    """Whether the operators run compiled code on the CPU; `load()` says why not."""
    return load().capability is not None


@functools.cache
def warn_if_missing() -> None:
    """Warns, once per process, that the operators run in plain torch on the CPU."""
    status = load()
    if status.capability is None:
        warnings.warn(f'ddf_seg.ops runs in {status}', stacklevel=3)
