"""What tests that want a GPU share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ddf_seg.ops import native

on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason='torch sees no GPU: the CUDA kernels run by emulation only (test_cuda_emulation.py)',
)


def need_kernels() -> None:
    """Skips where there is a GPU, but no library for it."""
    status = native.load('cuda')
    if status.built_for is None:
        pytest.skip(f'there is a GPU, but no CUDA kernels: {status.reason}')


def to_device(x: Tensor, device: str) -> Tensor:
    """A copy with the same strides."""
    base = torch.empty_strided(x.size(), x.stride(), dtype=x.dtype, device=device)
    if 0 in x.stride():  # expanded: write the memory once
        first = tuple(slice(0, 1) if s == 0 else slice(None) for s in x.stride())
        base[first].copy_(x[first])
        return base
    return base.copy_(x)
