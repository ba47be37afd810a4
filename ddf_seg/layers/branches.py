"""The two branches that generate filters: spatial ones per pixel, channel ones per channel."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.depthwise_pointwise import depthwise_pointwise
from ..ops.weight_gain import weight_gain
from .filter_norm import FilterNorm, as_computed, build_normalization

# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
for _name in ('few_outputs', 'weight_gain', '_global_mean', 'depthwise_pointwise'):
    torch.fx.wrap(_name)


def _normalize(norm: nn.Module, filters: Tensor, *weights: Tensor) -> Tensor:
    """Normalises what one or two layers of these weights made."""
    if not isinstance(norm, FilterNorm):
        return norm(filters)
    return norm(filters, weight_gain(*weights))


class SpatialBranch(nn.Sequential):
    """1×1 convolution to k² values per pixel and group, then normalisation (paper, section 3.2).

    Args:
        in_channels: channels of the input.
        kernel_size: side k of the filters.
        groups: filters per pixel.
        stride: step between the pixels that get filters.
        nonlinearity: the nonlinearity that follows the filter, for FilterNorm's gain.
        normalization: see `build_normalization`.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int,
        groups: int = 1,
        stride: int = 1,
        nonlinearity: str = 'relu',
        normalization: str = 'filter_norm',
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, groups * kernel_size**2, 1, stride=stride),
            build_normalization(normalization, groups, kernel_size, 'spatial', nonlinearity),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, groups·k², ceil(H / stride), ceil(W / stride))."""
        conv, norm = cast(nn.Conv2d, self[0]), self[1]
        if conv.stride == (1, 1):
            filters = few_outputs(x, conv.weight, cast(Tensor, conv.bias))
        else:
            filters = conv(x)
        return _normalize(norm, filters, conv.weight)


def few_outputs(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 1×1 convolution to a few channels, by our own kernel where that is faster.

    That is for contiguous maps on the CPU: of large ones, torch's convolution and its matrix
    product take two to three times as long, forward.
    """
    # Other runtimes than torch get the convolution.
    if torch.compiler.is_exporting() or not (x.is_cpu and x.is_contiguous()):
        return F.conv2d(x, weight, bias)
    if bias is None:
        bias = weight.new_zeros(()).expand(weight.shape[0])
    return depthwise_pointwise(x, None, weight.reshape(1, *weight.shape[:2]), bias)


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """Adds a number a channel to (B, C, H, W), in x's type; under autocast bias has another."""
    return x + bias.to(x.dtype).view(1, -1, 1, 1)


class GlobalMean(nn.Module):
    """Mean over the pixels, (B, C, H, W) to (B, C, 1, 1), summed in float32 or wider.

    nn.AdaptiveAvgPool2d writes its input's gradient out as a map; this one's is a number a channel,
    spread by a stride of 0.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _global_mean(x)


def _global_mean(x: Tensor) -> Tensor:
    total = x.sum(dim=(2, 3), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
    return (total / (x.shape[2] * x.shape[3])).to(x.dtype)


class ChannelBranch(nn.Sequential):
    """Global pooling and squeeze-excitation to k² values per channel, then normalisation.

    Args:
        in_channels: channels of the input.
        kernel_size: side k of the filters.
        se_ratio: width of the squeeze as a fraction of in_channels (σ of the paper's ablation).
        phases: independent branches that run as one, on the same pooled input.
        nonlinearity: the nonlinearity that follows the filter, for FilterNorm's gain.
        normalization: see `build_normalization`.
        start: what all filters are before training, see `FilterNorm`.

    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int,
        se_ratio: float = 0.2,
        phases: int = 1,
        nonlinearity: str = 'relu',
        normalization: str = 'filter_norm',
        start: float | None = None,
    ) -> None:
        squeezed = phases * max(1, int(in_channels * se_ratio))
        filters = phases * in_channels
        super().__init__(
            GlobalMean(),
            nn.Conv2d(in_channels, squeezed, 1),
            # Not in place: TorchScript's autograd refuses that for the view that it gets.
            nn.ReLU(),
            nn.Conv2d(squeezed, filters * kernel_size**2, 1, groups=phases),
            build_normalization(
                normalization, filters, kernel_size, 'channel', nonlinearity, start
            ),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, phases·in_channels·k², 1, 1)."""
        pool, squeeze, relu, excite, norm = self
        squeeze, excite = cast(nn.Conv2d, squeeze), cast(nn.Conv2d, excite)
        filters = _on_one_pixel(excite, relu(_on_one_pixel(squeeze, pool(x))))
        return _normalize(norm, filters, squeeze.weight, excite.weight)


def _on_one_pixel(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1×1 convolution of (B, C, 1, 1), without a convolution's preparations."""
    bias, weight = cast(Tensor, conv.bias), conv.weight.flatten(1)
    if conv.groups == 1:
        return F.linear(x.flatten(1), weight, bias)[..., None, None]
    by_group = x.view(x.shape[0], conv.groups, weight.shape[1]).transpose(0, 1)
    product = torch.bmm(by_group, weight.unflatten(0, (conv.groups, -1)).transpose(1, 2))
    return (product.transpose(0, 1).flatten(1) + bias)[..., None, None]


def separable(
    x: Tensor,
    depthwise: nn.Conv2d,
    pointwise: nn.Conv2d,
    phases: int = 1,
    scale_factor: int = 1,
) -> Tensor:
    """A depthwise convolution and a 1×1 for each phase, whose weights are stacked, as one.

    With the root of the number of phases as scale factor, they are the pixels of a finer map.
    """
    first = depthwise.weight.unflatten(0, (phases, -1)).squeeze(2)
    second = pointwise.weight.unflatten(0, (phases, -1)).flatten(2)
    within, after = cast(Tensor, depthwise.bias), cast(Tensor, pointwise.bias)
    bias = after + torch.bmm(second, within.view(phases, -1, 1)).flatten()
    return depthwise_pointwise(x, first, second, bias, scale_factor)


class PhaseSpatialBranch(nn.Module):
    """The r² spatial branches of DDF-Up, each a depthwise convolution and a 1×1, run as one.

    The parameters are stacked over the phases.

    Args:
        in_channels: channels of the input.
        kernel_size: side k of the filters.
        groups: filters per pixel.
        scale_factor: r.
        dw_kernel_size: side of the depthwise convolution, odd.
        nonlinearity: the nonlinearity that follows the filter, for FilterNorm's gain.
        normalization: see `build_normalization`.
        zero_start: all values are 0 before training.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int,
        groups: int,
        scale_factor: int,
        dw_kernel_size: int = 3,
        nonlinearity: str = 'linear',
        normalization: str = 'filter_norm',
        zero_start: bool = False,
    ) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.phases = phases = scale_factor**2
        self.depthwise = nn.Conv2d(
            in_channels * phases,
            in_channels * phases,
            dw_kernel_size,
            padding=dw_kernel_size // 2,
            groups=in_channels * phases,
        )
        self.pointwise = nn.Conv2d(in_channels, phases * groups * kernel_size**2, 1)
        # The other normalisations do not tell phases apart.
        self.norm_by_phase = normalization == 'batch_norm'
        filters = phases * groups if self.norm_by_phase else groups
        self.norm = build_normalization(
            normalization, filters, kernel_size, 'spatial', nonlinearity
        )
        self.zero_start = zero_start
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Sets the last convolution to 0 where all is to start so."""
        if self.zero_start:
            nn.init.zeros_(self.pointwise.weight)
            nn.init.zeros_(cast(Tensor, self.pointwise.bias))

    def by_phase(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, r²·groups·k², H, W), without normalisation."""
        return separable(x, self.depthwise, self.pointwise, self.phases)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, groups·k², r·H, r·W)."""
        r = self.scale_factor
        if self.norm_by_phase:
            return in_pixels(self.norm(self.by_phase(x)), r)
        filters = separable(x, self.depthwise, self.pointwise, self.phases, r)
        return _normalize(self.norm, filters, self.depthwise.weight, self.pointwise.weight)


def in_pixels(by_phase: Tensor, scale_factor: int) -> Tensor:
    """(B, r²·n, H, W) to (B, n, r·H, r·W)."""
    r = scale_factor
    split = by_phase.unflatten(1, (r, r, -1))
    return as_computed(split.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3))
