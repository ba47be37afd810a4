"""Finds and loads the compiled operators, and says why they are missing where they are."""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from . import registration  # noqa: F401  (the library implements operators that this defines)

CAPABILITY_VARIABLE = 'DDF_SEG_CPU_CAPABILITY'
_LIBRARY = '_C_cpu.abi3.so'
_HOW_TO = (
    'Install from source where there is a C++17 compiler: '
    '`pip install --no-build-isolation <checkout of ddf_seg>`, or install a wheel.'
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


def is_native_available() -> bool:
    """Whether the operators run compiled code on the CPU; `load()` says why not."""
    return load().capability is not None


@functools.cache
def warn_if_missing() -> None:
    """Warns, once per process, that the operators run in plain torch on the CPU."""
    status = load()
    if status.capability is None:
        warnings.warn(f'ddf_seg.ops runs in {status}', stacklevel=3)
