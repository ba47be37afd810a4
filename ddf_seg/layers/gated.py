"""Dynamic filters that count nothing at first: what they are added to starts as it was."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import ddf
from .branches import add_bias, few_outputs
from .filter_norm import FilterNorm


class _FiltersAndGate(nn.Module):
    """A 1×1 convolution that keeps its start.

    It is no nn.Conv2d, which heads and `init_cfg` find among all modules and initialise as a layer
    that a ReLU follows: wide ones would then start with gates at 0 or 1, which learn nothing.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = nn.Conv2d(in_channels, out_channels, 1)
        assert conv.bias is not None
        self.weight, self.bias = conv.weight, conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return few_outputs(x, self.weight, self.bias)


class GatedDDF(nn.Module):
    r"""Gated filters of each pixel's own, shared by the channels.

    .. math::
        y_c(p) = a \cdot \sigma(g(p)) \sum_i w_i(p) x_c(p + i)

    w are filters that a 1×1 convolution of x makes and FilterNorm normalises (arXiv 2104.14107,
    equation 5), g is a logit beside them, a a factor that starts at 0.

    Args:
        channels: channels of the map.
        kernel_size: k, odd, at least 3.
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.filters_and_gate = _FiltersAndGate(channels, kernel_size**2 + 1)
        self.norm = FilterNorm(1, kernel_size, 'spatial', 'relu')
        self.factor = nn.Parameter(torch.zeros(()))

    def filters(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to gated filters, (B, k², H, W)."""
        filters, gate = self.filters_and_gate(x).split([self.kernel_size**2, 1], dim=1)
        return self.norm(filters) * (self.factor * gate.sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return ddf(x, None, self.filters(x), self.kernel_size)


class GatedDDFConv2d(nn.Conv2d):
    """A convolution of a map to as many channels, and `GatedDDF` of the map added to it.

    With a convolution's weights, under nn.Conv2d's keys, it starts as that convolution.

    Args:
        channels: channels of input and output.
        kernel_size: side of both filters, odd, at least 3; the output is as large as the input.
        groups: 1 (dense) or channels (depthwise).
        bias: whether the convolution has one.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=bias
        )
        self.gated = GatedDDF(channels, kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        if self.groups == 1:
            return super().forward(x) + self.gated(x)
        # Both are one filter a channel and pixel: the sum of a static and a dynamic one.
        static = self.weight.squeeze(1).to(x.dtype).expand(x.shape[0], -1, -1, -1)
        out = ddf(x, static, self.gated.filters(x), self.kernel_size[0], kernel_combine='add')
        return out if self.bias is None else add_bias(out, self.bias)
