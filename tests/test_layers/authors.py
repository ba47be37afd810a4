"""The layers as the paper's authors write them, in float64, phase by phase and with an unfold.

The one deviation: DDF-Up's depthwise convolution pads by dw_kernel_size // 2, as it must.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def ddf(
    x: Tensor, f: Tensor, s: Tensor, k: int, dilation: int, stride: int, kernel_combine: str
) -> Tensor:
    """(B, C, H, W), (B, C, k, k) and (B, G·k², H', W') to (B, C, H', W')."""
    batch, channels = x.shape[:2]
    size = s.shape[2:]
    patches = F.unfold(x, k, dilation, k // 2 * dilation, stride)
    patches = patches.view(batch, channels, k * k, *size)
    groups = s.shape[1] // (k * k)
    of_pixel = s.view(batch, groups, 1, k * k, *size).expand(-1, -1, channels // groups, -1, -1, -1)
    of_pixel = of_pixel.reshape(batch, channels, k * k, *size)
    of_channel = f.reshape(batch, channels, k * k, 1, 1)
    weight = of_channel * of_pixel if kernel_combine == 'mul' else of_channel + of_pixel
    return (weight * patches).sum(2)


def guided_upsample(x: Tensor, f: Tensor, s: Tensor, k: int, r: int) -> Tensor:
    """Joint DDF-Up, by indexing: f is (B, r², C, k²), s (B, k², H', W')."""
    batch, channels, height, width = x.shape
    rows, columns = torch.arange(s.shape[2]), torch.arange(s.shape[3])
    patches = F.unfold(x, k, padding=k // 2).view(batch, channels, k * k, height, width)
    patches = patches[:, :, :, (rows // r).clamp(max=height - 1)]
    patches = patches[..., (columns // r).clamp(max=width - 1)]
    phase = (rows % r)[:, None] * r + columns % r
    of_channel = f[:, phase].permute(0, 3, 4, 1, 2)
    return (of_channel * s[:, None] * patches).sum(2)


class FilterNorm(nn.Module):
    """Their FilterNorm, with their eps of 1e-10."""

    def __init__(
        self,
        in_channels: int,
        kernel_size: int,
        nonlinearity: str,
        running_std: bool = False,
        running_mean: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        gain = nn.init.calculate_gain(nonlinearity) / kernel_size
        taps = in_channels * kernel_size**2
        self.std = nn.Parameter(torch.randn(taps) * gain) if running_std else gain
        self.mean = nn.Parameter(torch.randn(taps)) if running_mean else 0.0

    def forward(self, x: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (x.dim() - 2))
        filters = x.reshape(x.shape[0], self.in_channels, -1, *x.shape[2:])
        filters = filters - filters.mean(dim=2, keepdim=True)
        filters = filters / (filters.std(dim=2, keepdim=True) + 1e-10)
        std = self.std.view(shape) if isinstance(self.std, Tensor) else self.std
        mean = self.mean.view(shape) if isinstance(self.mean, Tensor) else self.mean
        return filters.reshape(x.shape) * std + mean


def spatial_branch(
    in_channels: int, kernel_size: int, head: int, nonlinearity: str, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, head * kernel_size**2, 1, stride=stride),
        FilterNorm(head, kernel_size, nonlinearity),
    )


def channel_branch(
    in_channels: int, kernel_size: int, nonlinearity: str, se_ratio: float
) -> nn.Sequential:
    squeezed = int(in_channels * se_ratio)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Conv2d(in_channels, squeezed, 1),
        nn.ReLU(True),
        nn.Conv2d(squeezed, in_channels * kernel_size**2, 1),
        FilterNorm(in_channels, kernel_size, nonlinearity, running_std=True),
    )


class DDFPack(nn.Module):
    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        head: int = 1,
        se_ratio: float = 0.2,
        nonlinearity: str = 'relu',
        kernel_combine: str = 'mul',
    ) -> None:
        super().__init__()
        self.arguments = (kernel_size, dilation, stride, kernel_combine)
        self.spatial_branch = spatial_branch(in_channels, kernel_size, head, nonlinearity, stride)
        self.channel_branch = channel_branch(in_channels, kernel_size, nonlinearity, se_ratio)

    def forward(self, x: Tensor) -> Tensor:
        return ddf(x, self.channel_branch(x), self.spatial_branch(x), *self.arguments)


class DDFUpPack(nn.Module):
    """Unguided: a spatial and a channel branch for each of the r² phases."""

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 3,
        scale_factor: int = 2,
        dilation: int = 1,
        head: int = 1,
        se_ratio: float = 0.2,
        nonlinearity: str = 'linear',
        dw_kernel_size: int = 3,
        kernel_combine: str = 'mul',
    ) -> None:
        super().__init__()
        self.arguments = (kernel_size, dilation, 1, kernel_combine)
        self.scale_factor = scale_factor
        self.spatial_branch = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(
                    in_channels,
                    in_channels,
                    dw_kernel_size,
                    padding=dw_kernel_size // 2,
                    groups=in_channels,
                ),
                spatial_branch(in_channels, kernel_size, head, nonlinearity),
            )
            for _ in range(scale_factor**2)
        )
        self.channel_branch = nn.ModuleList(
            channel_branch(in_channels, kernel_size, nonlinearity, se_ratio)
            for _ in range(scale_factor**2)
        )

    def forward(self, x: Tensor) -> Tensor:
        phases = [
            ddf(x, of_channel(x), of_pixel(x), *self.arguments)
            for of_pixel, of_channel in zip(self.spatial_branch, self.channel_branch, strict=True)
        ]
        return F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), self.scale_factor)
