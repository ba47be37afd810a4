"""FilterNorm against the authors' formula, in low precision and on filters without variation."""

from __future__ import annotations

import math
from typing import Any

import authors
import pytest
import torch
from torch import Tensor, nn

from ddf_seg.layers import FilterNorm


def filters(*shape: int, deviation: float, per_filter: int, dtype: Any = torch.float64) -> Tensor:
    """Random filters of exactly this deviation, with means of their own."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64).unflatten(1, (-1, per_filter))
    x = (x - x.mean(2, keepdim=True)) / x.std(2, keepdim=True) * deviation
    return (x + torch.randn(x[:, :, :1].shape, generator=generator)).flatten(1, 2).to(dtype)


@pytest.mark.parametrize('kernel_size', [2, 3, 5])
@pytest.mark.parametrize('filter_type', ['spatial', 'channel'])
@pytest.mark.parametrize('running', [(False, False), (True, False), (True, True)], ids=str)
@pytest.mark.parametrize('nonlinearity', ['linear', 'relu'])
@pytest.mark.parametrize('deviation', [0.01, 1.0, 100.0])
def test_agrees_with_the_authors(
    kernel_size: int,
    filter_type: str,
    running: tuple[bool, bool],
    nonlinearity: str,
    deviation: float,
) -> None:
    """Within 1e-3, from a deviation of 0.01 on, where eps and float32 weigh most."""
    norm = FilterNorm(3, kernel_size, filter_type, nonlinearity, *running)
    theirs = authors.FilterNorm(3, kernel_size, nonlinearity, *running)
    theirs.load_state_dict(norm.state_dict(), strict=True)
    taps = kernel_size**2
    shapes = {'spatial': [(2, 3 * taps, 4, 5)], 'channel': [(2, 3 * taps), (2, 3 * taps, 1, 1)]}
    for shape in shapes[filter_type]:
        x = filters(*shape, deviation=deviation, per_filter=taps)
        # The offset goes before the comparison: it may cancel a value, but not its error.
        offset = norm.mean.view(1, -1, *(1,) * (x.dim() - 2)) if running[1] else 0
        torch.testing.assert_close(
            norm(x) - offset, theirs(x) - offset, rtol=1e-3, atol=1e-4, check_dtype=False
        )
        assert norm(x).dtype == x.dtype


@pytest.mark.parametrize(('nonlinearity', 'gain'), [('linear', 1.0), ('relu', math.sqrt(2))])
def test_result_has_mean_0_and_the_gains_deviation(nonlinearity: str, gain: float) -> None:
    x = filters(2, 18, 5, 4, deviation=3, per_filter=9)
    y = FilterNorm(2, 3, 'spatial', nonlinearity)(x).unflatten(1, (2, 9))
    torch.testing.assert_close(y.mean(2), torch.zeros_like(y[:, :, 0]), atol=1e-6, rtol=0)
    unbiased = (y.square().sum(2) / 8).sqrt()
    torch.testing.assert_close(unbiased, torch.full_like(unbiased, gain / 3), atol=0, rtol=1e-4)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_statistics_are_in_float32(dtype: torch.dtype) -> None:
    """Values whose squares overflow float16, and sums that lose it its digits."""
    x = filters(2, 50, 3, 3, deviation=300, per_filter=25, dtype=dtype) + 1000
    y = FilterNorm(2, 5, 'spatial')(x)
    expected = authors.FilterNorm(2, 5, 'linear')(x.double())
    assert y.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(y.double(), expected, rtol=eps, atol=2e-5)


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', [0.0, 0.1, -3.3, 1e-6, 1000.1])
@pytest.mark.parametrize('filter_type', ['spatial', 'channel'])
def test_constant_filters_become_nothing(
    dtype: torch.dtype, value: float, filter_type: str
) -> None:
    """The authors' 1e-10 turns the rounding error of a mean into a filter."""
    x = torch.full((2, 3 * 49, 2, 2), value, dtype=dtype, requires_grad=True)
    y = FilterNorm(3, 7, filter_type, running_std=True)(x)
    y.float().sum().backward()
    # A mean of 1000.1 is off by 6e-5 in float32: a filter of some 6 eps, which is yet no explosion.
    assert y.abs().max() <= (1e-2 if abs(value) < 100 else 5)
    assert x.grad is not None
    assert x.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_tiny_filters_stay_finite(dtype: torch.dtype) -> None:
    x = (filters(1, 9, 3, 3, deviation=1, per_filter=9) * 1e-7).to(dtype).requires_grad_()
    y = FilterNorm(1, 3, 'spatial')(x)
    y.float().square().sum().backward()
    assert y.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_gradient() -> None:
    """float32 inside allows no gradcheck; autograd through the authors' formula is the measure."""
    norm = FilterNorm(2, 3, 'spatial', 'relu', running_std=True, running_mean=True)
    theirs = authors.FilterNorm(2, 3, 'relu', running_std=True, running_mean=True)
    theirs.load_state_dict(norm.state_dict())
    x = filters(2, 18, 3, 4, deviation=1, per_filter=9).requires_grad_()
    upstream = torch.randn(x.shape, dtype=torch.float64)
    ours = torch.autograd.grad(norm(x), (x, norm.std, norm.mean), upstream)
    expected = torch.autograd.grad(theirs(x), (x, theirs.std, theirs.mean), upstream)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


def test_state_dict_keys() -> None:
    assert list(FilterNorm(2, 3, 'spatial').state_dict()) == []
    learned = FilterNorm(2, 3, 'channel', running_std=True, running_mean=True)
    assert {k: tuple(v.shape) for k, v in learned.state_dict().items()} == {
        'std': (18,),
        'mean': (18,),
    }


def test_starts_from_the_authors_initialisation() -> None:
    norm = FilterNorm(400, 5, 'channel', 'relu', running_std=True)
    assert isinstance(norm.std, nn.Parameter)
    assert abs(norm.std.std().item() / (math.sqrt(2) / 5) - 1) < 0.05
    assert abs(norm.std.mean().item()) < 0.02


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ((2, 1, 'spatial'), 'kernel_size'),
        ((2, 0, 'spatial'), 'kernel_size'),
        ((0, 3, 'spatial'), 'in_channels'),
        ((2, 3, 'both'), 'filter_type'),
        ((2, 3, 'spatial', 'gelu'), 'nonlinearity'),
        ((2.0, 3, 'spatial'), 'in_channels'),
        ((2, True, 'spatial'), 'kernel_size'),
        ((2, 3, 'spatial', 'relu', 'yes'), 'running_std'),
    ],
)
def test_bad_arguments(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f'^{name}: expected .*got'):
        FilterNorm(*arguments)


@pytest.mark.parametrize('shape', [(1, 9, 4, 4), (1, 27, 4, 4), (18, 4, 4), (1, 1, 18, 4, 4)])
def test_bad_input(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'^x: expected shape .*18.*got'):
        FilterNorm(2, 3, 'spatial')(torch.zeros(shape))
