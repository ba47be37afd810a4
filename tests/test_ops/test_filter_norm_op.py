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


LEARNED = ['nothing', 'std', 'mean', 'std and mean']


def learned_of(learned: str, count: int, dtype: torch.dtype = torch.float64) -> list[Tensor | None]:
    """Values for std and mean."""
    values = torch.randn(2, count, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    names = ('std', 'mean')
    return [v.to(wide) if n in learned else None for v, n in zip(values, names, strict=True)]


def formula(filters: Tensor, taps: int, gain: float, eps: float) -> np.ndarray:
    """Equation 5 of the paper in float64, before σ and the offset."""
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
    normalized = torch.from_numpy(formula(x, taps, 0.7, 0.5e-2))
    eps = torch.finfo(dtype).eps
    for learned in LEARNED:
        std, mean = learned_of(learned, size[1], dtype)
        y = forward(x, taps, 0.7, 1e-2, torch.tensor(0.5), std, mean)
        assert y.dtype == dtype
        expected = normalized if std is None else normalized * std.double().view(-1, 1, 1)
        expected = expected if mean is None else expected + mean.double().view(-1, 1, 1)
        torch.testing.assert_close(y.double(), expected, rtol=eps, atol=max(8 * eps, 1e-12))
    is_channels_last = layout == 'channels_last' and not x.is_contiguous()
    fresh = torch.empty_like(
        y, memory_format=torch.channels_last if is_channels_last else torch.contiguous_format
    )
    assert y.stride() == fresh.stride()


def expected_of(x: Tensor, taps: int) -> Tensor:
    """The formula in torch's own functions."""
    split = x.unflatten(1, (-1, taps))
    deviation, mean = torch.std_mean(split, dim=2, keepdim=True)
    return ((split - mean) / (deviation + 1e-2) * 0.7).flatten(1, 2)


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
    (expected_gradient,) = torch.autograd.grad(expected_of(leaf, taps), leaf, upstream)
    gradient = backward(upstream, x, taps, 0.7, 1e-2, None, None)
    torch.testing.assert_close(gradient, expected_gradient, check_stride=False)
    std, _ = learned_of('std', size[1])
    assert std is not None
    of_std = std.view(-1, 1, 1)
    (expected_gradient,) = torch.autograd.grad(expected_of(leaf, taps), leaf, upstream * of_std)
    gradient = backward(upstream, x, taps, 0.7, 1e-2, None, std)
    torch.testing.assert_close(gradient, expected_gradient, check_stride=False)


@pytest.mark.parametrize('learned', LEARNED)
@pytest.mark.parametrize('shape', ['spatial', 'channel', 'k = 5'])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
def test_gradients_of_what_is_learned(learned: str, shape: str, dtype: torch.dtype) -> None:
    """Those of all arguments, against autograd through the formula in float64."""
    size, taps = SHAPES[shape]
    x = torch.randn(size, dtype=dtype).requires_grad_()
    leaves = [v.requires_grad_() for v in learned_of(learned, size[1], dtype) if v is not None]
    given = iter(leaves)
    std = next(given) if 'std' in learned else None
    mean = next(given) if 'mean' in learned else None
    upstream = torch.randn(size, dtype=dtype)
    got = torch.autograd.grad(
        filter_norm(x, taps, 0.7, 1e-2, None, std, mean), [x, *leaves], upstream
    )
    wide = [v.detach().double().requires_grad_() for v in (x, *leaves)]
    given = iter(wide)
    y = expected_of(next(given), taps)
    y = y * next(given).view(-1, 1, 1) if std is not None else y
    y = y + next(given).view(-1, 1, 1) if mean is not None else y
    want = torch.autograd.grad(y, wide, upstream.double())
    eps = torch.finfo(dtype).eps
    assert [g.dtype for g in got] == [x.dtype, *(v.dtype for v in leaves)]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(
            a.double(), b, rtol=4 * eps, atol=max(64 * torch.finfo(a.dtype).eps, 1e-12)
        )


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_constant_filters(implementation: str, dtype: torch.dtype) -> None:
    forward, backward = IMPLEMENTATIONS[implementation]
    x = torch.full((1, 9, 3, 50), 0.1, dtype=dtype)
    assert not forward(x, 9, 1.0, 1e-5, None, None, None).any()
    gradient = backward(torch.ones_like(x), x, 9, 1.0, 1e-5, None, None)
    assert not gradient.any()


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
def test_nan_and_infinity_stay_in_their_filter(implementation: str) -> None:
    forward, _ = IMPLEMENTATIONS[implementation]
    x = torch.randn(1, 18, 4, 37)
    x[0, 3, 1, 5], x[0, 11, 2, 36] = float('nan'), float('inf')
    nan = forward(x, 9, 1.0, 1e-5, None, None, None).isnan().unflatten(1, (2, 9))
    expected = torch.zeros_like(nan)
    expected[0, 0, :, 1, 5] = expected[0, 1, :, 2, 36] = True
    assert torch.equal(nan, expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_torch_accepts_it(dtype: torch.dtype) -> None:
    x = torch.randn(2, 18, 5, 7, dtype=dtype).requires_grad_()
    op = torch.ops.ddf_seg.filter_norm.default
    for learned in LEARNED:
        given = [v if v is None else v.requires_grad_() for v in learned_of(learned, 18, dtype)]
        torch.library.opcheck(op, (x, 9, 0.7, 1e-5, torch.tensor(0.5), *given))


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
    learned = torch.randn(2, 18)
    try:
        results = []
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            results.append(
                (
                    torch.ops.ddf_seg.filter_norm(x, 9, 0.7, 1e-5, None, *learned),
                    torch.ops.ddf_seg.filter_norm_backward(
                        upstream, x, 9, 0.7, 1e-5, None, learned[0]
                    ),
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
        ((torch.zeros(1, 9, 2, 2), 1, 1.0, 0.1), 'taps: expected at least 2, got 1'),
        ((torch.zeros(1, 10, 2, 2), 9, 1.0, 0.1), r'filters: expected .*got \(1, 10, 2, 2\)'),
        ((torch.zeros(1, 9), 9, 1.0, 0.1), r'filters: expected .*got \(1, 9\)'),
        (
            (torch.zeros(1, 9, 2, 2).int(), 9, 1.0, 0.1),
            'filters: expected one of float64, float32, float16, bfloat16, got (Int|torch.int32)',
        ),
        ((None, 9, 1.0, 0.1), 'filters: expected a torch.Tensor, got None'),
        (
            (torch.zeros(1, 9, 2, 2).to_sparse(), 9, 1.0, 0.1),
            'filters: expected a dense tensor, got one of layout torch.sparse_coo',
        ),
        ((torch.zeros(1, 9, 2, 2), 9, 1.0, 0.1, torch.ones(2)), 'scale: expected one float32'),
        (
            (torch.zeros(1, 9, 2, 2), 9, 1.0, 0.1, None, torch.ones(8)),
            r'std: expected 9 numbers of .*[fF]loat.*, got shape \(8,?\)',
        ),
        (
            (torch.zeros(1, 9, 2, 2).half(), 9, 1.0, 0.1, None, None, torch.ones(9).half()),
            r'mean: expected 9 numbers of .*[fF]loat.*, got shape \(9,?\) of (Half|torch.float16)',
        ),
    ],
)
def test_bad_arguments(function: Any, arguments: tuple[Any, ...], message: str) -> None:
    """What the compiled operator says, and what the one in plain torch does."""
    with pytest.raises((RuntimeError, ValueError, TypeError), match=message):
        function(*arguments, *[None] * (7 - len(arguments)))
