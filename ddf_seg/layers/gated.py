"""A convolution that dynamic filters add to: it starts as the convolution alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..ops import ddf
from .branches import _few_outputs
from .filter_norm import FilterNorm


class GatedDDFConv2d(nn.Conv2d):
    r"""A k×k convolution of a map to as many channels, and gated filters of each pixel's own.

    .. math::
        y_c(p) = (s * x)_c(p) + a \cdot \sigma(g(p)) \sum_i w_i(p) x_c(p + i)

    with s the static weights (dense or depthwise), w filters that a 1×1 convolution of x makes and
    FilterNorm normalises (arXiv 2104.14107, equation 5), shared by the channels, g a logit beside
    them, and a a factor that starts at 0: with a convolution's weights, it starts as that one. The
    keys of s are nn.Conv2d's.

    Args:
        channels: channels of input and output.
        kernel_size: k, odd.
        groups: 1 (dense) or channels (depthwise).
        bias: whether the convolution has one.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            channels, channels, kernel_size, padding=kernel_size // 2, groups=groups, bias=bias
        )
        self.taps = kernel_size**2
        self.dynamic = nn.Conv2d(channels, self.taps + 1, 1)
        self.norm = FilterNorm(1, kernel_size, 'spatial', 'relu')
        self.factor = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        filters, gate = _few_outputs(self.dynamic, x).split([self.taps, 1], dim=1)
        filters = self.norm(filters) * (self.factor * gate.sigmoid())
        k = self.kernel_size[0]
        if self.groups == 1:
            one = x.new_ones(1).expand(*x.shape[:2], k, k)
            return super().forward(x) + ddf(x, one, filters, k)
        static = self.weight.squeeze(1).to(x.dtype).expand(x.shape[0], -1, -1, -1)
        out = ddf(x, static, filters, k, kernel_combine='add')
        return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)
