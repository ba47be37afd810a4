"""The gradients of `depthwise_pointwise`: those that are asked for, and a fuzz test."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest
import torch
from guarded import guarded
from hypothesis import given, settings
from hypothesis import strategies as st
from test_depthwise_pointwise import (
    IMPLEMENTATIONS,
    LAYOUTS,
    SHAPES,
    differentiable,
    make,
    needs_library,
    two_convolutions,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ddf_seg.ops import depthwise_pointwise as module
from ddf_seg.ops.depthwise_pointwise import depthwise_pointwise

# More of them: DDF_SEG_FUZZ_EXAMPLES=5000
EXAMPLES = int(os.environ.get('DDF_SEG_FUZZ_EXAMPLES', '200'))
MASKS = list(itertools.product((False, True), repeat=3))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('mask', MASKS, ids=str)
@pytest.mark.parametrize(
    'shape',
    [
        'DDF-Up x2',
        'fine map x2',
        '1x1 alone',
        '1x1 alone, small maps',
        '1x1 alone, phases',
        '1x1 alone, no image',
    ],
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_gradients_that_are_not_wanted_are_left_out(
    implementation: str, mask: tuple[bool, bool, bool], shape: str, dtype: torch.dtype
) -> None:
    """And the others are those of two convolutions."""
    forward, backward = IMPLEMENTATIONS[implementation]
    for layout in ('contiguous', 'channels_last', 'part of a map'):
        tensors, r = make(shape, layout, dtype), SHAPES[shape][-1]
        upstream = torch.randn_like(forward(*tensors, r))
        wide = [None if t is None else t.double().requires_grad_() for t in tensors[:3]]
        out = two_convolutions(*wide, tensors[3].double())
        if r > 1:
            by_phase = out.unflatten(1, (r, r, -1)).permute(0, 3, 4, 1, 5, 2)
            out = by_phase.flatten(4, 5).flatten(2, 3)
        given = [t for t in wide if t is not None]
        expected = iter(torch.autograd.grad(out, given, upstream.double()))
        found = backward(upstream, *tensors[:3], r, list(mask))
        for got, t, wanted in zip(found, wide, mask, strict=True):
            want = None if t is None else next(expected)
            if want is None or not wanted:
                assert got.shape == (0,)
                continue
            scale = want.abs().max().item() if want.numel() else 1.0
            close = 30 * torch.finfo(dtype).eps * scale
            torch.testing.assert_close(got.double(), want, rtol=0, atol=close, check_stride=False)


@pytest.mark.parametrize('shape', ['DDF-Up x2', '1x1 alone'])
def test_autograd_asks_for_what_is_wanted_alone(shape: str) -> None:
    """As the operators' own count of operations tells."""
    x, depthwise, pointwise, bias = differentiable(shape, 'contiguous', torch.float32)
    counts = []
    for wanted in ((x, pointwise), (pointwise,), (x,)):
        for t in (x, depthwise, pointwise):
            if t is not None:
                t.requires_grad_(any(t is w for w in wanted))
        out = depthwise_pointwise(x, depthwise, pointwise, bias)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(out, wanted, torch.ones_like(out))
        counts.append(counter.get_total_flops())
    assert counts[0] == 2 * counts[1] == 2 * counts[2] > 0


@pytest.mark.parametrize('mask', [(True, False, True), (True, True, True)], ids=str)
@pytest.mark.parametrize('shape', ['DDF-Up x2', '1x1 alone'])
def test_torch_accepts_the_gradients(shape: str, mask: tuple[bool, ...]) -> None:
    tensors = differentiable(shape, 'contiguous', torch.float32)
    upstream = torch.randn_like(depthwise_pointwise(*tensors)).detach().requires_grad_()
    op = torch.ops.ddf_seg.depthwise_pointwise_backward.default
    torch.library.opcheck(op, (upstream, *tensors[:3], SHAPES[shape][-1], list(mask)))


def test_a_mask_of_another_length_is_an_error() -> None:
    x, *weights = make('DDF-Up x2', 'contiguous', torch.float32)[:3]
    arguments = (torch.zeros(2, 36, 6, 7), x, *weights, 1, [True, True])
    for check in (torch.ops.ddf_seg.depthwise_pointwise_backward, module._check_backward):
        with pytest.raises((RuntimeError, ValueError), match='output_mask: expected three values'):
            check(*arguments)


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[Any], list[bool]]:
    """Arguments of a backward pass, between pages that must not be touched, and a mask."""
    r = draw(st.integers(1, 3))
    phases, side = draw(st.integers(1, 4)) if r == 1 else r * r, draw(st.sampled_from((0, 0, 1, 3)))
    batch, channels = draw(st.integers(0, 12)), draw(st.integers(1, 40))
    height, width = draw(st.integers(1, 8)), draw(st.integers(1, 20) | st.integers(1, 700))
    outputs = draw(st.sampled_from((1, 2, 9, 25)))
    dtype = draw(st.sampled_from((torch.float32, torch.float64, torch.bfloat16, torch.float16)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    at_end = draw(st.booleans())

    def tensor(layout: str, *size: int) -> Tensor:
        values = torch.randn(size, generator=generator, dtype=torch.float64).to(dtype)
        return guarded(LAYOUTS[layout](values), at_end)

    layouts = st.sampled_from(list(LAYOUTS))
    x = tensor(draw(layouts), batch, channels, height, width)
    depthwise = tensor('contiguous', phases, channels, side, side) if side else None
    pointwise = tensor('contiguous', phases, outputs, channels)
    maps = outputs if r > 1 else phases * outputs
    upstream = tensor(draw(layouts), batch, maps, r * height, r * width)
    return [upstream, x, depthwise, pointwise, r], draw(
        st.lists(st.booleans(), min_size=3, max_size=3)
    )


@needs_library
@given(call=calls(), threads=st.integers(1, 3))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, print_blob=True)
def test_fuzz_dispatched(call: tuple[list[Any], list[bool]], threads: int) -> None:
    """Beside the same in plain torch, in float64."""
    arguments, mask = call
    bias = arguments[3].new_zeros(arguments[3].shape[:2]).flatten()
    wide = [t.double() if isinstance(t, Tensor) else t for t in (*arguments[1:4], bias)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        got = torch.ops.ddf_seg.depthwise_pointwise_backward(*arguments, mask)
        out = torch.ops.ddf_seg.depthwise_pointwise(*arguments[1:4], bias, arguments[4])
    finally:
        torch.set_num_threads(before)
    gradients = module._plain_backward(arguments[0].double(), *wide[:3], arguments[4], mask)
    expected = (module._plain_forward(*wide, arguments[4]), *gradients)
    for a, b in zip((out, *got), expected, strict=True):
        assert a.shape == b.shape
        close = 30 * torch.finfo(a.dtype).eps * (b.abs().max().item() if b.numel() else 1.0)
        torch.testing.assert_close(a.double(), b, rtol=0, atol=close, check_stride=False)
