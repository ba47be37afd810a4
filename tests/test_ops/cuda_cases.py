"""Calls that between them reach every CUDA kernel, and what they should give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from assertions import assert_rounded_once, is_channels_last_only
from cases import Call, ddf_calls, ddf_upsample_calls, of_one_filter
from naive import Pair, pair
from torch import Tensor

from ddf_seg.ops import reference


def call_of(
    shape: tuple[int, int, int, int],
    kernel_size: int | Pair,
    layouts: str | tuple[str, str, str] = 'contiguous',
    groups: int = 1,
    dilation: int | Pair = 1,
    stride: int | Pair = 1,
    scale_factor: int = 1,
    phased: bool = False,
    more: Pair = (0, 0),
    kernel_combine: str = 'mul',
) -> Call:
    """A call of `ddf`, or of `ddf_upsample` if `scale_factor` is above 1.

    Args:
        shape: of the features.
        more: rows and columns of the output above a multiple.
    """
    batch, channels, height, width = shape
    down = pair(stride)
    return Call(
        batch=batch,
        channels=channels,
        groups=groups,
        size=(height, width),
        out_size=(
            -(-height // down[0]) * scale_factor + more[0],
            -(-width // down[1]) * scale_factor + more[1],
        ),
        kernel_size=kernel_size,
        dilation=dilation,
        kernel_combine=kernel_combine,
        layouts=(layouts,) * 3 if isinstance(layouts, str) else layouts,
        stride=stride if scale_factor == 1 else None,
        scale_factor=scale_factor,
        phased=phased,
    )


# Beyond what the random calls reach: whole vectors, several tiles, chunks and blocks of channels.
LARGE = [
    call_of((1, 12, 6, 40), 3),
    call_of((2, 6, 5, 136), 3, groups=2, dilation=(2, 1)),
    call_of((1, 5, 9, 16), 5),
    call_of((1, 4, 7, 24), 5, dilation=(3, 1), groups=2),
    call_of((3, 70, 2, 8), 3, groups=2),
    call_of((1, 3, 9, 37), 3),
    call_of((1, 40, 5, 11), 5, stride=2),
    call_of((1, 4, 12, 40), 3, ('contiguous', 'contiguous', 'channels_last')),
    call_of((1, 4, 12, 40), 3, ('contiguous', 'transposed', 'sliced')),
    call_of((1, 4, 12, 40), 3, ('channels_last', 'contiguous', 'contiguous')),
    call_of((1, 16, 9, 21), 3, 'channels_last'),
    call_of((2, 48, 5, 7), 3, 'channels_last', groups=3, dilation=2),
    call_of((1, 32, 9, 10), 5, 'channels_last', groups=2),
    call_of((1, 16, 9, 11), 5, 'channels_last', stride=(2, 1)),
    call_of((1, 14, 6, 9), 3, 'channels_last'),
    call_of((1, 36, 5, 6), (3, 7), 'channels_last', groups=2),
    call_of((1, 40, 6, 7), 7, dilation=2),
    call_of((1, 16, 4, 7), 3, 'channels_last', scale_factor=2, phased=True, more=(1, -1)),
    call_of((1, 16, 3, 4), 5, 'channels_last', scale_factor=2, more=(-1, 0)),
    call_of((2, 20, 5, 17), 3, scale_factor=2, phased=True, more=(-1, 1)),
    call_of((1, 6, 3, 5), 5, scale_factor=4, phased=True, groups=2, more=(3, -3)),
    call_of((2, 5, 4, 7), 3, scale_factor=2, phased=True),
    call_of((1, 70, 3, 40), 3, scale_factor=2, groups=2),
    call_of((1, 6, 7, 9), 3, stride=2),
    call_of((1, 12, 6, 8), 3, 'channels_last', groups=2, stride=2),
    call_of((1, 24, 5, 12), 3, 'channels_last', dilation=(1, 3)),
    call_of((1, 140, 6, 9), 3, 'channels_last', scale_factor=2, phased=True),
    call_of((1, 8, 9, 6), 3, 'channels_last', dilation=2, stride=(1, 2)),
    call_of((1, 40, 6, 50), 3),
    call_of((1, 5, 3, 20), 3),
    call_of((1, 6, 7, 11), 5, dilation=(2, 1)),
    call_of((1, 136, 5, 6), 3, 'channels_last'),
    # So many tiles that each has several rows for a warp.
    call_of((256, 4, 9, 3), 3, 'channels_last'),
    # The filters of so many phases have no room in shared memory.
    call_of((1, 3, 1, 2), 5, scale_factor=13, phased=True, more=(2, 0)),
]
LARGE += [
    Call(**{**call.__dict__, 'kernel_combine': 'add'})
    for call in LARGE
    if pair(call.kernel_size) in ((3, 3), (5, 5))
]
CALLS = [*LARGE, *ddf_calls(60), *ddf_upsample_calls(60)]
ONE_FILTER = of_one_filter([*LARGE[:30], *ddf_calls(30), *ddf_upsample_calls(30)])


def expected(
    call: Call, inputs: Sequence[Tensor | None], grad_output: Tensor | None = None
) -> tuple[Tensor, ...]:
    """(O,) or the gradients of X, F and S, in float64; of a missing filter an empty one."""
    tensors = tuple(None if t is None else t.double() for t in inputs)
    kernel, dilation = pair(call.kernel_size), pair(call.dilation)
    geometry = (
        (kernel, dilation, pair(call.stride))
        if call.stride is not None
        else (kernel, call.scale_factor, dilation)
    )
    name = 'ddf' if call.stride is not None else 'ddf_upsample'
    if grad_output is None:
        return (getattr(reference, f'{name}_forward')(*tensors, *geometry, call.kernel_combine),)
    return getattr(reference, f'{name}_backward')(
        grad_output.double(), *tensors, *geometry, call.kernel_combine, [True] * 3
    )


def tensors_of(call: Call, dtype: torch.dtype) -> tuple[tuple[Tensor, Any, Any], Tensor]:
    """The inputs, and an upstream gradient in the memory format that the output has."""
    inputs, upstream = call.tensors(dtype), call.grad_output(dtype)
    if is_channels_last_only(inputs[0]):
        upstream = upstream.contiguous(memory_format=torch.channels_last)
    return inputs, upstream


def assert_expected(
    call: Call,
    inputs: Sequence[Tensor | None],
    results: list[Tensor | None],
    grad_output: Tensor | None = None,
) -> None:
    """(O,) or all gradients are exact up to sums in float32 and one rounding."""
    exact = expected(call, inputs, grad_output)
    upstream = None if grad_output is None else grad_output.abs()
    terms = expected(call, [None if t is None else t.abs() for t in inputs], upstream)
    names = 'O' if grad_output is None else 'XFS'
    of = inputs[: len(names)]
    for name, x, value, other, sum_of_terms in zip(names, of, results, exact, terms, strict=True):
        if x is None:
            continue
        assert value is not None
        if value.dtype == torch.float64:
            torch.testing.assert_close(value, other, rtol=1e-12, atol=1e-12)
        else:
            assert_rounded_once(name, value, other, sum_of_terms)
