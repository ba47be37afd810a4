"""Each decomposition equals the operator, in value and in shape."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cases import ddf_calls, ddf_upsample_calls, of_one_filter
from naive import pair
from torch import Tensor

from ddf_seg import ops
from ddf_seg.deployment.decompositions import decomposition_table, softmax
from ddf_seg.layers.guided_upsampling import composed
from ddf_seg.layers.interpolation import axis_table
from ddf_seg.ops.depthwise_pointwise import depthwise_pointwise
from ddf_seg.ops.filter_norm import filter_norm
from ddf_seg.ops.interpolation_softmax import interpolation_softmax

TABLE = {
    op.name().removeprefix('ddf_seg::'): form
    for op, form in decomposition_table().items()
    if op.namespace == 'ddf_seg'
}


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_same(name: str, expected: Tensor, *arguments: Any) -> None:
    found = TABLE[name](*arguments)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_forward_operator_has_one() -> None:
    names = {'ddf', 'ddf_upsample', 'affinity', 'filter_norm', 'depthwise_pointwise'}
    assert TABLE.keys() == {*names, 'interpolation_softmax', 'guided_upsample'}


@pytest.mark.parametrize('call', [*ddf_calls(60), *of_one_filter(ddf_calls(15))], ids=str)
def test_ddf(call: Any) -> None:
    tensors = call.tensors(torch.float32)
    expected = ops.ddf(*tensors, **call.arguments)
    pairs = (pair(call.kernel_size), pair(call.dilation), pair(call.stride))
    assert_same('ddf', expected, *tensors, *pairs, call.kernel_combine)


@pytest.mark.parametrize('kernel_size', [(3, 5), (5, 3), (1, 7), (7, 7)])
@pytest.mark.parametrize('size', [(1, 2), (4, 8), (6, 9)])
def test_ddf_of_tiles(kernel_size: tuple[int, int], size: tuple[int, int]) -> None:
    """Maps of less than a tile, of whole tiles and of more."""
    features, filters = random(2, 4, *size), random(2, 2 * math.prod(kernel_size), *size)
    expected = ops.ddf(features, None, filters, kernel_size)
    assert_same('ddf', expected, features, None, filters, kernel_size, (1, 1), (1, 1), 'mul')


@pytest.mark.parametrize(
    'call', [*ddf_upsample_calls(60), *of_one_filter(ddf_upsample_calls(16))], ids=str
)
def test_ddf_upsample(call: Any) -> None:
    tensors = call.tensors(torch.float32)
    expected = ops.ddf_upsample(*tensors, **call.arguments)
    others = (pair(call.kernel_size), call.scale_factor, pair(call.dilation), call.kernel_combine)
    assert_same('ddf_upsample', expected, *tensors, *others)


@pytest.mark.parametrize('compared', [True, False])
def test_interpolation_softmax(compared: bool) -> None:
    key, query, logits = random(2, 6, 4, 5), random(2, 6, 7, 11), random(2, 50, 7, 11)
    pair_of = (query, key) if compared else (None, None)
    arguments = (logits, *pair_of, random(4, 5, 7), random(4, 5, 11), 2)
    assert_same('interpolation_softmax', interpolation_softmax(*arguments), *arguments)


@pytest.mark.parametrize('summed', [True, False])
@pytest.mark.parametrize(('context', 'compared'), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(
    ('low', 'fine', 'k', 'r'),
    [
        ((4, 6), (8, 12), 5, 2),  # whole tiles of 2×2 parents
        ((4, 5), (7, 10), 3, 2),
        ((4, 5), (9, 11), 5, 2),  # the last parents have more fine pixels
        ((1, 3), (3, 7), 5, 3),
        ((2, 3), (2, 3), 3, 1),
    ],
)
def test_guided_upsample(
    low: Any, fine: Any, k: int, r: int, context: bool, compared: bool, summed: bool
) -> None:
    """Against the operators that it is composed of."""
    settings = (r, k, 'bilinear', False)
    rows, columns = (
        axis_table((n, 1), n, high, *settings) for n, high in zip(low, fine, strict=True)
    )
    of_guide = random(2, k * k, *fine)
    query = random(2, 4, *fine) if compared else None
    by_phase = random(2, r * r * k * k, *low) if context else None
    key = random(2, 4, *low) if compared else None
    arguments = (
        of_guide,
        query,
        by_phase,
        key,
        rows,
        columns,
        [random(2, 3, *low), random(2, 3, *low) ** 2],
        r,
        summed,
    )
    expected, found = composed(*arguments), TABLE['guided_upsample'](*arguments)
    assert len(expected) == len(found) == (1 if summed else 2)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('size', 'fine', 'k', 'r', 'd'),
    [
        ((4, 5), (4, 5), (3, 3), 1, (1, 1)),
        ((4, 5), (8, 10), (5, 5), 2, (1, 1)),
        ((4, 5), (7, 11), (3, 5), 2, (2, 1)),
        ((3, 2), (10, 4), (3, 3), 3, (1, 2)),
    ],
)
def test_affinity(size: Any, fine: Any, k: Any, r: int, d: Any) -> None:
    query, x = random(2, 6, *fine), random(2, 6, *size)
    assert_same('affinity', ops.affinity(query, x, k, r, d), query, x, k, r, d)


@pytest.mark.parametrize('scale', [None, torch.tensor(0.3)])
@pytest.mark.parametrize(('filters', 'taps'), [(1, 9), (3, 25), (2, 2)])
def test_filter_norm(filters: int, taps: int, scale: Tensor | None) -> None:
    x = random(2, filters * taps, 4, 5)
    x[0, :taps, 0, 0] = 0.1  # a constant filter becomes exactly 0
    arguments = (x, taps, 0.47, 1e-5, scale)
    assert_same('filter_norm', filter_norm(*arguments), *arguments)
    assert not TABLE['filter_norm'](*arguments)[0, :taps, 0, 0].any()
    learned = random(filters * taps), random(filters * taps)
    assert_same('filter_norm', filter_norm(*arguments, *learned), *arguments, *learned)


@pytest.mark.parametrize('dim', [1, 2, -2, 3, -1])
def test_softmax(dim: int) -> None:
    x = 40 * random(2, 3, 9, 4)
    torch.testing.assert_close(softmax(x, dim), x.softmax(dim))
    assert softmax(x, dim, torch.float64).dtype == torch.float64
    # Exponentials stay finite.
    assert softmax(x + 1e4, dim).isfinite().all()


@pytest.mark.parametrize('side', [None, 1, 3, 5])
def test_depthwise_pointwise(side: int | None) -> None:
    depthwise = None if side is None else random(4, 3, side, side)
    arguments = (random(2, 3, 6, 7), depthwise, random(4, 9, 3), random(36))
    for scale_factor in (1, 2):
        expected = depthwise_pointwise(*arguments, scale_factor)
        assert_same('depthwise_pointwise', expected, *arguments, scale_factor)
