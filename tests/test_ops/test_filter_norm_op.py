"""The operator `filter_norm`, compiled and in plain torch, against the formula in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ddf_seg.ops
from ddf_seg.ops import filter_norm as module
from ddf_seg.ops.checks import check_filters
from ddf_seg.ops.filter_norm import filter_norm

needs_library = pytest.mark.skipif(
    not ddf_seg.ops.is_native_available(), reason='the operators are not compiled here'
)
IMPLEMENTATIONS = {
    'dispatched': (torch.ops.ddf_seg.filter_norm, torch.ops.ddf_seg.filter_norm_backward),
    'plain torch': (module._plain_forward, module._plain_backward),
}
SHAPES = {
    'spatial': ((2, 18, 5, 7), 9),
    'a long row': ((1, 9, 1, 5000), 9),
    'k = 5': ((2, 50, 3, 33), 25),
    'channel': ((3, 90, 1, 1), 9),
    'two taps': ((2, 4, 6, 17), 2),
    'nothing': ((0, 9, 4, 4), 9),
}
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    'contiguous': lambda x: x,
    'channels_last': lambda x: x.to(memory_format=torch.channels_last),
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'every second': lambda x: x.repeat_interleave(2, 3)[..., ::2],
}


def formula(filters: Tensor, taps: int, gain: float, eps: float) -> np.ndarray:
    """Equation 5 of the paper in float64."""
    x = filters.double().numpy()
    x = x.reshape(x.shape[0], x.shape[1] // taps, taps, *x.shape[2:])
    deviation = x.std(axis=2, ddof=1, keepdims=True)
    return ((x - x.mean(axis=2, keepdims=True)) / (deviation + eps) * gain).reshape(filters.shape)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_formula(implementation: str, shape: str, layout: str, dtype: torch.dtype) -> None:
    forward, _ = IMPLEMENTATIONS[implementation]
    size, taps = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    x = LAYOUTS[layout](torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) + 3)
    y = forward(x, taps, 0.7, 1e-2, torch.tensor(0.5))
    assert y.dtype == dtype
    expected = torch.from_numpy(formula(x, taps, 0.7, 0.5e-2))
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=eps, atol=max(8 * eps, 1e-12))
    is_channels_last = layout == 'channels_last' and not x.is_contiguous()
    fresh = torch.empty_like(
        y, memory_format=torch.channels_last if is_channels_last else torch.contiguous_format
    )
    assert y.stride() == fresh.stride()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('shape', [name for name in SHAPES if name != 'nothing'])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_gradient_in_float64(implementation: str, shape: str, layout: str) -> None:
    """Against autograd through the formula in torch's own functions."""
    _, backward = IMPLEMENTATIONS[implementation]
    size, taps = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    x = LAYOUTS[layout](torch.randn(size, generator=generator, dtype=torch.float64))
    upstream = torch.randn(size, generator=generator, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    split = leaf.unflatten(1, (-1, taps))
    deviation, mean = torch.std_mean(split, dim=2, keepdim=True)
    expected = ((split - mean) / (deviation + 1e-2) * 0.7).flatten(1, 2)
    (expected_gradient,) = torch.autograd.grad(expected, leaf, upstream)
    gradient = backward(upstream, x, taps, 0.7, 1e-2, None)
    torch.testing.assert_close(gradient, expected_gradient, check_stride=False)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_constant_filters(implementation: str, dtype: torch.dtype) -> None:
    forward, backward = IMPLEMENTATIONS[implementation]
    x = torch.full((1, 9, 3, 50), 0.1, dtype=dtype)
    assert not forward(x, 9, 1.0, 1e-5, None).any()
    gradient = backward(torch.ones_like(x), x, 9, 1.0, 1e-5, None)
    assert not gradient.any()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_and_infinity_stay_in_their_filter(implementation: str) -> None:
    forward, _ = IMPLEMENTATIONS[implementation]
    x = torch.randn(1, 18, 4, 37)
    x[0, 3, 1, 5], x[0, 11, 2, 36] = float('nan'), float('inf')
    nan = forward(x, 9, 1.0, 1e-5, None).isnan().unflatten(1, (2, 9))
    expected = torch.zeros_like(nan)
    expected[0, 0, :, 1, 5] = expected[0, 1, :, 2, 36] = True
    assert torch.equal(nan, expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_torch_accepts_it(dtype: torch.dtype) -> None:
    x = torch.randn(2, 18, 5, 7, dtype=dtype).requires_grad_()
    arguments: tuple[Any, ...] = (x, 9, 0.7, 1e-5, torch.tensor(0.5))
    torch.library.opcheck(torch.ops.ddf_seg.filter_norm.default, arguments)


def test_compiled_graph_has_no_breaks() -> None:
    compiled = torch.compile(filter_norm, fullgraph=True, dynamic=True, backend='aot_eager')
    for width in (5, 9):
        x = torch.randn(2, 18, 4, width, requires_grad=True)
        y, expected = compiled(x, 9, 0.7, 1e-5), filter_norm(x, 9, 0.7, 1e-5)
        torch.testing.assert_close(y, expected, rtol=0, atol=0)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        (expected_gradient,) = torch.autograd.grad(expected.square().sum(), x)
        torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=0)


@needs_library
def test_same_bits_on_any_number_of_threads() -> None:
    before = torch.get_num_threads()
    x, upstream = torch.randn(2, 2, 18, 61, 203)
    try:
        results = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(
                (
                    torch.ops.ddf_seg.filter_norm(x, 9, 0.7, 1e-5, None),
                    torch.ops.ddf_seg.filter_norm_backward(upstream, x, 9, 0.7, 1e-5, None),
                )
            )
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@pytest.mark.parametrize('function', [filter_norm, check_filters])
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((torch.zeros(1, 9, 2, 2), 1, 1.0, 0.1, None), 'taps: expected at least 2, got 1'),
        ((torch.zeros(1, 10, 2, 2), 9, 1.0, 0.1, None), r'filters: expected .*got \(1, 10, 2, 2\)'),
        ((torch.zeros(1, 9), 9, 1.0, 0.1, None), r'filters: expected .*got \(1, 9\)'),
        (
            (torch.zeros(1, 9, 2, 2).int(), 9, 1.0, 0.1, None),
            'filters: expected one of float64, float32, float16, bfloat16, got (Int|torch.int32)',
        ),
        ((None, 9, 1.0, 0.1, None), 'filters: expected a torch.Tensor, got None'),
        (
            (torch.zeros(1, 9, 2, 2).to_sparse(), 9, 1.0, 0.1, None),
            'filters: expected a dense tensor, got one of layout torch.sparse_coo',
        ),
        ((torch.zeros(1, 9, 2, 2), 9, 1.0, 0.1, torch.ones(2)), 'scale: expected one float32'),
    ],
)
def test_bad_arguments(function: Any, arguments: tuple[Any, ...], message: str) -> None:
    """What the compiled operator says, and what the one in plain torch does."""
    with pytest.raises((RuntimeError, ValueError, TypeError), match=message):
        function(*arguments)
