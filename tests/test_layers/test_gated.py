"""Gated filters beside a convolution, against the formula written with torch's unfold."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.layers import GatedDDF, GatedDDFConv2d


def by_unfolding(layer: GatedDDF, x: Tensor) -> Tensor:
    k = layer.kernel_size
    made = F.conv2d(x, layer.filters_and_gate.weight, layer.filters_and_gate.bias)
    filters, gate = made[:, : k * k], made[:, k * k :]
    mean, std = filters.mean(1, keepdim=True), filters.std(1, keepdim=True)
    filters = (filters - mean) / (std + 1e-5) * (2**0.5 / k)
    patches = F.unfold(x, k, padding=k // 2).view(*x.shape[:2], k * k, *x.shape[2:])
    return layer.factor * gate.sigmoid() * (patches * filters[:, None]).sum(2)


@pytest.mark.parametrize('kernel_size', [3, 5])
def test_gated_filters(kernel_size: int) -> None:
    layer = GatedDDF(6, kernel_size)
    x = torch.randn(2, 6, 7, 5)
    assert not layer(x).any()
    layer.factor.data.fill_(0.7)
    torch.testing.assert_close(layer(x), by_unfolding(layer, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('groups', [1, 6])
@pytest.mark.parametrize('bias', [True, False])
def test_beside_a_convolution(groups: int, bias: bool) -> None:
    layer = GatedDDFConv2d(6, 3, groups, bias)
    conv = nn.Conv2d(6, 6, 3, padding=1, groups=groups, bias=bias)
    missing = layer.load_state_dict(conv.state_dict(), strict=False)
    assert not missing.unexpected_keys
    x = torch.randn(2, 6, 7, 5)
    torch.testing.assert_close(layer(x), conv(x), rtol=1e-4, atol=1e-5)
    layer.gated.factor.data.fill_(-0.4)
    expected = conv(x) + by_unfolding(layer.gated, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_the_factor_learns_from_its_start() -> None:
    layer = GatedDDFConv2d(6)
    layer(torch.randn(2, 6, 7, 5)).square().sum().backward()
    assert layer.gated.factor.grad is not None
    assert layer.gated.factor.grad.abs() > 0
