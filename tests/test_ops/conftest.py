"""The implementations under test, and one seed for all tests."""

from __future__ import annotations

import pytest
import torch
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


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
