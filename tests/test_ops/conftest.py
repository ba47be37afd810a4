"""The implementations under test, and one seed for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from cuda_emulated import (
    DTYPES,
    SANITIZED,
    SANITIZERS,
    SLOW_DTYPES,
    Emulation,
    build_once,
    compiler_missing,
)
from implementations import IMPLEMENTATIONS, Implementation

import ddf_seg.ops


def pytest_report_header() -> str:
    return f'ddf_seg.ops: {"compiled" if ddf_seg.ops.is_native_available() else "plain torch"}'


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Implementation:
    """One of `IMPLEMENTATIONS`."""
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(params=[name for name, each in IMPLEMENTATIONS.items() if each.ddf_backward])
def kernels(request: pytest.FixtureRequest) -> Implementation:
    """One of `IMPLEMENTATIONS` whose gradients are written out, with all that the ops promise."""
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(scope='session')
def emulated_dtypes(request: pytest.FixtureRequest) -> list[torch.dtype]:
    """All, where slow tests run, too."""
    slow = any(item.get_closest_marker('slow') for item in request.session.items)
    return [dtype for dtype in DTYPES if slow or dtype not in SLOW_DTYPES]


@pytest.fixture(scope='session')
def library(emulated_dtypes: list[torch.dtype], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CUDA kernels, compiled for the CPU."""
    if compiler_missing():
        pytest.skip(compiler_missing())
    names = [DTYPES[dtype] for dtype in emulated_dtypes]
    return build_once(tmp_path_factory, 'cuda_emulation', names)


@pytest.fixture(scope='session')
def emulation(library: Path, emulated_dtypes: list[torch.dtype]) -> Emulation:
    return Emulation(library, emulated_dtypes)


@pytest.fixture(scope='session')
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """They as a program that sanitizers watch."""
    if compiler_missing():
        pytest.skip(compiler_missing())
    # g++ takes several times as long to optimise what sanitizers add as the calls take to run.
    flags = [*SANITIZERS, '-O0']
    return build_once(tmp_path_factory, 'cuda_watched', SANITIZED, flags, program=True)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
