"""The compiled operators between pages that must not be touched: a fault where they read beyond."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from guarded import guarded
from test_native_values import Call, assert_agrees, make_call

import ddf_seg.ops
from ddf_seg.ops import depthwise_pointwise, filter_norm, interpolation_softmax

OPS = torch.ops.ddf_seg
pytestmark = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)
both_ends = pytest.mark.parametrize('at_end', [True, False], ids=['guard behind', 'guard before'])
dtypes = pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)


def tiny_calls(dtype: torch.dtype, view: str) -> Iterator[Call]:
    """Maps narrower than a vector, and outputs up to a step more than r times as wide.

    17 channels: the last block of every instruction set's loops is not full.
    """
    for width, height, dilation in itertools.product((1, 3, 5, 9), (1, 2), (1, 2)):
        shared = {
            'batch': 1,
            'groups': 1,
            'per_group': 17,
            'dtype': dtype,
            'views': (view,) * 4,
            'size': (height, width),
            'dilation': (1, dilation),
        }
        for filters in ('FS', 'F', 'S'):
            yield make_call('ddf', filters=filters, **shared)
        for scale, phased, filters in ((2, True, 'FS'), (3, False, 'FS'), (2, True, 'S')):
            for off in {1, scale - 1}:
                yield make_call(
                    'ddf_upsample',
                    scale=scale,
                    off=(scale - 1, off),
                    phased=phased,
                    filters=filters,
                    **shared,
                )


@both_ends
@dtypes
@pytest.mark.parametrize('view', ['contiguous', 'channels_last'])
def test_tiny_maps_dispatched(view: str, dtype: torch.dtype, at_end: bool) -> None:
    for call in tiny_calls(dtype, view):
        assert_agrees(call.map(lambda x: guarded(x, at_end)))


@both_ends
@dtypes
def test_filter_norm_dispatched(dtype: torch.dtype, at_end: bool) -> None:
    for width, filters in ((1, 1), (3, 1), (5, 1), (9, 1), (17, 1), (1, 5), (1, 17)):
        shape = (1, 9 * filters, 1, width)
        x, upstream = (guarded(torch.randn(shape).to(dtype), at_end) for _ in range(2))
        std, mean = (guarded(torch.randn(9 * filters), at_end) for _ in range(2))
        arguments = (x, 9, 0.7, 1e-5, None, std)
        got = OPS.filter_norm(*arguments, mean), OPS.filter_norm_backward(upstream, *arguments)
        want = (
            filter_norm._plain_forward(*arguments, mean),
            filter_norm._plain_backward(upstream, *arguments),
        )
        torch.testing.assert_close(
            got, want, rtol=1.6e-2 if dtype.itemsize == 2 else 1e-4, atol=1e-5
        )


@both_ends
@dtypes
def test_depthwise_pointwise_dispatched(dtype: torch.dtype, at_end: bool) -> None:
    for width, height, side, r in itertools.product((1, 3, 9, 17), (1, 2), (None, 1, 3), (1, 2)):
        depthwise = None if side is None else (r * r, 9, side, side)
        weights = (depthwise, (r * r, 3, 9), (3 * r * r,))
        shapes = ((1, 9, height, width), *weights, (1, 3, r * height, r * width))
        *tensors, upstream = (
            None if n is None else guarded(torch.randn(n).to(dtype), at_end) for n in shapes
        )
        got = (
            OPS.depthwise_pointwise(*tensors, r),
            *OPS.depthwise_pointwise_backward(upstream, *tensors[:3], r),
        )
        wide = [None if t is None else t.double() for t in tensors]
        want = (
            depthwise_pointwise._plain_forward(*wide, r),
            *depthwise_pointwise._plain_backward(upstream.double(), *wide[:3], r),
        )
        for a, b in zip(got, want, strict=True):
            if b.numel() == 0:  # of the filters that are not there
                assert a.numel() == 0
                continue
            close = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(a.double(), b, rtol=close, atol=close * b.abs().max().item())


@both_ends
@dtypes
def test_interpolation_softmax_dispatched(dtype: torch.dtype, at_end: bool) -> None:
    # Widths of fewer pixels than a vector, and of more than the coarse map's own
    for (width, low), k in itertools.product(((1, 1), (3, 1), (9, 5), (17, 8)), (1, 5)):
        shapes = ((1, k * k, 2, width), (1, 3, 2, width), (1, 3, 1, low), (1, 2 * k * k, 2, width))
        *tensors, upstream = (guarded(torch.randn(n).to(dtype), at_end) for n in shapes)
        tables = [guarded(torch.randn(4, k, n), at_end) for n in (2, width)]
        arguments = (*tensors, *tables, 2)
        got = (
            OPS.interpolation_softmax(*arguments),
            OPS.interpolation_softmax_backward(upstream, *arguments),
        )
        wide = (*(t.double() for t in (*tensors, *tables)), 2)
        want = (
            interpolation_softmax._plain_forward(*wide),
            interpolation_softmax._plain_backward(upstream.double(), *wide),
        )
        for a, b in zip(got, want, strict=True):
            close = 1e-5 if dtype == torch.float32 else 2e-2
            torch.testing.assert_close(a.double(), b, rtol=close, atol=close)


def test_inputs_that_share_memory_until_written_are_not_copied() -> None:
    """torch._lazy_clone: what asks for memory to write to gets a copy first."""
    x, f, s, upstream = (
        torch.randn(n) for n in ((1, 2, 4, 5), (1, 2, 3, 3), (1, 9, 4, 5), (1, 2, 4, 5))
    )
    shared = [torch._lazy_clone(t) for t in (x, f, s, upstream)]
    OPS.ddf(*shared[:3], [3, 3], [1, 1], [1, 1], 'mul')
    OPS.ddf_backward(shared[3], *shared[:3], [3, 3], [1, 1], [1, 1], 'mul', [True] * 3)
    filters = torch._lazy_clone(s)
    filter_norm.filter_norm(filters, 9, 1.0, 1e-5)
    weights = [torch._lazy_clone(torch.randn(n)) for n in ((1, 2, 3, 3), (1, 3, 2), (3,))]
    depthwise_pointwise.depthwise_pointwise(shared[0], *weights)
    softmax = [torch._lazy_clone(torch.randn(n)) for n in ((1, 9, 2, 4), (3, 3, 2), (3, 3, 4))]
    interpolation_softmax.interpolation_softmax(softmax[0], None, None, *softmax[1:], 2)
    for tensor in (*shared, filters, *weights, *softmax):
        assert torch._C._is_cow_tensor(tensor)
