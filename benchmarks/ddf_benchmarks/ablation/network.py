"""A ResNet for images of 32×32 pixels, and what stands in it for a 3×3 convolution."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ddf_seg.layers import DDFPack
from ddf_seg.ops import ddf

# Of a bottleneck in the first stage; the stages after have twice and four times as many.
WIDTH, EXPANSION, STAGES, BLOCKS, CLASSES = 8, 4, 3, 2, 10

# (channels, stride) to a layer from (B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))
Filter = Callable[[int, int], nn.Module]


class Involution(nn.Module):
    """Involution (Li et al., CVPR 2021): filters a pixel of its own, which 16 channels share.

    Two 1×1 convolutions with BatchNorm and ReLU between make them, of the pixel that they are for;
    nothing normalises them.

    Args:
        channels: of input and output.
        stride: between output pixels; the filters are made of their mean.
    """

    kernel_size, reduction, shared = 3, 4, 16

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        squeezed = max(1, channels // self.reduction)
        groups = max(1, channels // self.shared)
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1),
            nn.BatchNorm2d(squeezed),
            nn.ReLU(),
            nn.Conv2d(squeezed, groups * self.kernel_size**2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, ceil(H / stride), ceil(W / stride))."""
        filters = self.branch(self.pool(x))
        return ddf(x, None, filters, self.kernel_size, stride=self.stride)


def _convolution(channels: int, stride: int) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, stride, 1, bias=False)


def _depthwise(channels: int, stride: int) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)


def _pack(channels: int, stride: int, **kwargs: Any) -> nn.Module:
    return DDFPack(channels, 3, stride, **kwargs)


def _full(channels: int, stride: int) -> nn.Module:
    """A filter for each pixel and channel: as many groups of spatial filters as channels."""
    return DDFPack(channels, 3, stride, head=channels, branches='spatial')


FILTERS: dict[str, Filter] = {
    'base': _convolution,
    'depthwise': _depthwise,
    'spatial': partial(_pack, branches='spatial'),
    'channel': partial(_pack, branches='channel'),
    'mul': _pack,
    'add': partial(_pack, kernel_combine='add'),
    'batch-norm': partial(_pack, normalization='batch_norm'),
    'sigmoid': partial(_pack, normalization='sigmoid'),
    'none': partial(_pack, normalization='none'),
    'squeeze-0.3': partial(_pack, se_ratio=0.3),
    'squeeze-0.4': partial(_pack, se_ratio=0.4),
    'neutral': partial(_pack, neutral_start=True),
    'involution': Involution,
    'full': _full,
}


class Bottleneck(nn.Module):
    """1×1, filter, 1×1, each with BatchNorm, beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, in_channels: int, width: int, stride: int, make: Filter) -> None:
        super().__init__()
        channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = make(width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut = (
            nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
            if stride > 1 or in_channels != channels
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = torch.relu_(self.bn2(self.conv2(y)))
        return torch.relu_(self.bn3(self.conv3(y)) + self.shortcut(x))


class CifarResNet(nn.Sequential):
    """ResNet-20 of bottlenecks: a 3×3 stem, three stages of two blocks, mean, linear layer.

    9 · 2 + 2 layers, as He et al. count them (ECCV 2016). The blocks are bottlenecks, since it is
    there that the paper replaces the 3×3 convolutions: the 1×1 convolutions beside mix channels,
    which depthwise filters do not.

    Args:
        make: builds what takes the place of each block's 3×3 convolution.
    """

    def __init__(self, make: Filter) -> None:
        stem = nn.Sequential(
            nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        channels = WIDTH
        for stage in range(STAGES):
            for block in range(BLOCKS):
                stride = 2 if stage and not block else 1
                blocks.append(Bottleneck(channels, WIDTH << stage, stride, make))
                channels = (WIDTH << stage) * EXPANSION
        super().__init__(
            stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
        )
        for module in self.modules():
            # What is inside a dynamic filter starts as that says.
            if type(module) is nn.Conv2d and module.bias is None:
                nn.init.kaiming_normal_(module.weight, nonlinearity='relu')


def build(row: str) -> CifarResNet:
    """A network whose bottlenecks have the row's filters."""
    return CifarResNet(FILTERS[row])
