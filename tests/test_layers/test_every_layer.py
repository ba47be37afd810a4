"""What every layer does: it can be copied, takes a batch of none, and keeps autocast's type."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import ddf_seg.layers as layers
from ddf_seg.layers import (
    DDFConv2d,
    DDFPack,
    DDFUpPack,
    DDFUpsample,
    FilterNorm,
    GatedDDF,
    GatedDDFConv2d,
    InterpolationSoftmax,
    JointBilateralUpsample,
    LocalAttender,
    NeighborhoodCrossAttention,
)

# Each with the shapes of its inputs
LAYERS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    'DDFConv2d': (lambda: DDFConv2d(4, 6, 3, padding=1), [(2, 4, 8, 9)]),
    'DDFPack': (lambda: DDFPack(4), [(2, 4, 8, 9)]),
    'DDFUpPack': (
        lambda: DDFUpPack(4, scale_factor=2, joint_channels=3),
        [(2, 4, 5, 6), (2, 3, 10, 12)],
    ),
    'DDFUpsample': (lambda: DDFUpsample(4, 6, 2), [(2, 4, 5, 6)]),
    'FilterNorm': (lambda: FilterNorm(2, 3, 'spatial', running_std=True), [(2, 18, 5, 6)]),
    'GatedDDF': (lambda: GatedDDF(4), [(2, 4, 8, 9)]),
    'GatedDDFConv2d': (lambda: GatedDDFConv2d(4, groups=4), [(2, 4, 8, 9)]),
    'InterpolationSoftmax': (lambda: InterpolationSoftmax(1, 3, 2), [(2, 9, 10, 12)]),
    'JointBilateralUpsample': (lambda: JointBilateralUpsample(3), [(2, 4, 5, 6), (2, 3, 10, 12)]),
    'LocalAttender': (lambda: LocalAttender(4, 9), [(2, 4, 10, 12), (2, 5, 5, 6)]),
    'NeighborhoodCrossAttention': (
        lambda: NeighborhoodCrossAttention(2, 3),
        [(2, 4, 10, 12), (2, 4, 5, 6), (2, 6, 5, 6)],
    ),
}


def call(layer: nn.Module, inputs: list[Tensor]) -> Tensor:
    size = ((5, 6),) if isinstance(layer, InterpolationSoftmax) else ()
    out: Tensor = layer(*inputs, *size)
    return out


def made(name: str) -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    build, shapes = LAYERS[name]
    layer = build().eval()
    for parameter in layer.parameters():
        parameter.data.normal_()
    return layer, [torch.randn(shape) for shape in shapes]


def test_all_are_here() -> None:
    assert set(LAYERS) == set(layers.__all__)


@pytest.mark.parametrize('name', LAYERS)
def test_copies_and_pickles_compute_the_same(name: str) -> None:
    layer, inputs = made(name)
    expected = call(layer, inputs)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is type(layer)
        own = {tensor.data_ptr() for tensor in layer.parameters()}
        assert own.isdisjoint(tensor.data_ptr() for tensor in twin.parameters())
        assert torch.equal(call(twin, inputs), expected)


@pytest.mark.parametrize('name', LAYERS)
def test_a_batch_of_none(name: str) -> None:
    layer, inputs = made(name)
    out = call(layer, [x[:0] for x in inputs])
    assert out.shape == (0, *call(layer, inputs).shape[1:])


@pytest.mark.parametrize('name', LAYERS)
def test_under_autocast_nothing_is_promoted(name: str) -> None:
    layer, inputs = made(name)
    with torch.autocast('cpu', torch.bfloat16):
        assert call(layer, [x.bfloat16() for x in inputs]).dtype is torch.bfloat16
