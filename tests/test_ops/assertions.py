"""What both operators must keep, as assertions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def is_channels_last_only(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def assert_rounded_once(name: str, value: Tensor, exact: Tensor, terms: Tensor) -> None:
    """`value` is `exact` after sums in float32 of terms that add up to `terms` in magnitude."""
    info = torch.finfo(value.dtype)
    noise = 16 * torch.finfo(torch.float32).eps * terms
    allowed = noise + info.eps / 2 * (exact.abs() + noise) + info.smallest_normal * info.eps
    excess = ((value.double() - exact).abs() / allowed).max()
    assert excess <= 1, f'{name}: {excess:.1f} times the error of one rounding'


def assert_same_bits_on_any_threads(run: Callable[[], tuple[Tensor, ...]]) -> None:
    """`run` gives the same bits with 1, 2 and 3 threads, and once more."""
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 3):
            torch.set_num_threads(count)
            results.append(run())
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        for number, (a, b) in enumerate(zip(results[0], other, strict=True)):
            assert torch.equal(a, b), f'result {number}'
