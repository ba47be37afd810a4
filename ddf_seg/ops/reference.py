"""The operators in plain torch: the formula, one tap of the kernel at a time.

`ddf` and `ddf_upsample` here are differentiable by torch's own autograd and serve as the
reference for every other implementation. The functions below them are what `ddf_seg.ops` runs
where no compiled kernel is at hand; their gradients are written out, so that memory stays at a
few maps of the output's size whatever the kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import IntPair, check_ddf, check_ddf_upsample

Pair = tuple[int, int]
Index = slice | Tensor


@dataclass(frozen=True)
class _Geometry:
    """Which input pixel each output pixel reads at each tap, and which channel filter it uses.

    Attributes:
        rows: input rows of the output rows at tap row 0, counted in the zero-padded input.
        columns: the same for columns.
        kernel: kernel size.
        dilation: distance between taps, in input pixels.
        scale: side of the square of phases; 1 if all output pixels share a channel filter.
    """

    rows: Index
    columns: Index
    kernel: Pair
    dilation: Pair
    scale: int

    def taps(self) -> Iterator[tuple[int, int, Index, Index]]:
        """Yields (tap row, tap column, rows, columns) for each tap."""
        for iy in range(self.kernel[0]):
            for ix in range(self.kernel[1]):
                yield (
                    iy,
                    ix,
                    _shift(self.rows, iy * self.dilation[0]),
                    _shift(self.columns, ix * self.dilation[1]),
                )


def _shift(index: Index, by: int) -> Index:
    if isinstance(index, slice):
        return slice(index.start + by, index.stop + by, index.step)
    return index + by


def _margins(kernel: Pair, dilation: Pair) -> Pair:
    return kernel[0] // 2 * dilation[0], kernel[1] // 2 * dilation[1]


def _within(features: Tensor, dilation: Pair) -> Pair:
    """Taps further apart than the map is long read zeros just as those of its length do."""
    height, width = features.shape[2:]
    return min(dilation[0], height), min(dilation[1], width)


def _strided(features: Tensor, size: Pair, kernel: Pair, dilation: Pair, stride: Pair) -> _Geometry:
    rows, columns = (slice(0, (n - 1) * s + 1, s) for n, s in zip(size, stride, strict=True))
    return _Geometry(rows, columns, kernel, _within(features, dilation), 1)


def _upsampled(features: Tensor, size: Pair, kernel: Pair, dilation: Pair, r: int) -> _Geometry:
    rows, columns = (
        torch.div(torch.arange(n, device=features.device), r, rounding_mode='floor').clamp(
            max=low - 1
        )
        for n, low in zip(size, features.shape[2:], strict=True)
    )
    return _Geometry(rows, columns, kernel, _within(features, dilation), r)


def _accumulate_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _phases_to_pixels(values: Tensor, scale: int, size: Pair) -> Tensor:
    """(B, r², C) values of the phases, or (B, C) shared ones, as a map that fits (B, C, H', W')."""
    if values.dim() == 2:
        return values[:, :, None, None]
    batch, _, channels = values.shape
    tile = values.transpose(1, 2).reshape(batch, channels, scale, scale)
    rows, columns = (torch.arange(n, device=values.device) % scale for n in size)
    return tile[:, :, rows][..., columns]


def _pixels_to_phases(pixels: Tensor, scale: int, phased: bool) -> Tensor:
    """The adjoint of `_phases_to_pixels`: sums of (B, C, H', W') over the pixels of each phase."""
    # One axis at a time: torch splits a sum to a single number between threads, as many ways as
    # there are threads, so that its last bits depend on their number.
    if not phased:
        return pixels.sum(3).sum(2)
    height, width = pixels.shape[2:]
    padded = F.pad(pixels, (0, -width % scale, 0, -height % scale))
    blocks = padded.unflatten(3, (-1, scale)).unflatten(2, (-1, scale))
    return blocks.sum(4).sum(2).flatten(2).transpose(1, 2)


def _grouped(spatial_filter: Tensor, taps: int) -> Tensor:
    return spatial_filter.unflatten(1, (-1, taps))


def _to_channels(group_map: Tensor, channels: int) -> Tensor:
    """(B, G, H', W') to (B, C, H', W'): channel c belongs to group c // (C / G)."""
    groups = group_map.shape[1]
    if groups in (1, channels):
        return group_map
    return group_map.repeat_interleave(channels // groups, dim=1)


def _forward(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    geometry: _Geometry,
    kernel_combine: str,
) -> Tensor:
    dtype = _accumulate_dtype(features.dtype)
    channels, size = features.shape[1], spatial_filter.shape[2:]
    vertical, horizontal = _margins(geometry.kernel, geometry.dilation)
    padded = F.pad(features.to(dtype), (horizontal, horizontal, vertical, vertical))
    spatial = _grouped(spatial_filter.to(dtype), geometry.kernel[0] * geometry.kernel[1])
    output = features.new_zeros((features.shape[0], channels, *size), dtype=dtype)
    for tap, (iy, ix, rows, columns) in enumerate(geometry.taps()):
        patch = padded[:, :, rows][..., columns]
        of_channel = _phases_to_pixels(
            channel_filter[..., iy, ix].to(dtype), geometry.scale, (size[0], size[1])
        )
        of_pixel = _to_channels(spatial[:, :, tap], channels)
        weight = of_channel * of_pixel if kernel_combine == 'mul' else of_channel + of_pixel
        output = output + weight * patch
    return output.to(features.dtype)


def _backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    geometry: _Geometry,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = _accumulate_dtype(features.dtype)
    channels, size = features.shape[1], spatial_filter.shape[2:]
    vertical, horizontal = _margins(geometry.kernel, geometry.dilation)
    padded = F.pad(features.to(dtype), (horizontal, horizontal, vertical, vertical))
    spatial = _grouped(spatial_filter.to(dtype), geometry.kernel[0] * geometry.kernel[1])
    upstream = grad_output.to(dtype)
    phased = channel_filter.dim() == 5
    multiplies = kernel_combine == 'mul'

    grad_padded = torch.zeros_like(padded)
    grad_channel = torch.zeros_like(channel_filter, dtype=dtype)
    grad_spatial = torch.zeros_like(spatial)
    for tap, (iy, ix, rows, columns) in enumerate(geometry.taps()):
        of_channel = _phases_to_pixels(
            channel_filter[..., iy, ix].to(dtype), geometry.scale, (size[0], size[1])
        )
        of_pixel = _to_channels(spatial[:, :, tap], channels)
        if output_mask[0]:
            weight = of_channel * of_pixel if multiplies else of_channel + of_pixel
            _add_at(grad_padded, rows, columns, upstream * weight)
        if output_mask[1] or output_mask[2]:
            grad_weight = upstream * padded[:, :, rows][..., columns]
        if output_mask[1]:
            grad_channel[..., iy, ix] = _pixels_to_phases(
                grad_weight * of_pixel if multiplies else grad_weight, geometry.scale, phased
            )
        if output_mask[2]:
            of_weight = grad_weight * of_channel if multiplies else grad_weight
            grad_spatial[:, :, tap] = of_weight.unflatten(1, (spatial.shape[1], -1)).sum(2)

    height, width = features.shape[2:]
    grad_features = grad_padded[:, :, vertical : vertical + height, horizontal : horizontal + width]
    gradients = (grad_features, grad_channel, grad_spatial.flatten(1, 2))
    inputs = (features, channel_filter, spatial_filter)
    kept = [
        like_layout(g.to(x.dtype), x) if needed else x.new_empty(0)
        for g, x, needed in zip(gradients, inputs, output_mask, strict=True)
    ]
    return kept[0], kept[1], kept[2]


def _add_at(target: Tensor, rows: Index, columns: Index, values: Tensor) -> None:
    """target[:, :, rows, columns] += values, also where an index occurs more than once."""
    if isinstance(rows, slice) or isinstance(columns, slice):
        target[:, :, rows, columns] += values
        return
    width = target.new_zeros((*values.shape[:3], target.shape[3])).index_add_(3, columns, values)
    target.index_add_(2, rows, width)


def is_channels_last(x: Tensor) -> bool:
    """Whether outputs that go with `x` are laid out channels_last (only if `x` is nothing else)."""
    return (
        x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def like_layout(values: Tensor, x: Tensor) -> Tensor:
    """`values` in the memory format of `x`: channels_last or contiguous, and no other."""
    layout = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return values.contiguous(memory_format=layout)


def ddf_forward(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: Pair,
    dilation: Pair,
    stride: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf` without checks, arguments as in the schema `ddf_seg::ddf`."""
    size = (spatial_filter.shape[2], spatial_filter.shape[3])
    geometry = _strided(features, size, kernel_size, dilation, stride)
    output = _forward(features, channel_filter, spatial_filter, geometry, kernel_combine)
    return like_layout(output, features)


def ddf_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: Pair,
    dilation: Pair,
    stride: Pair,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `ddf`; one that `output_mask` does not ask for is an empty tensor."""
    size = (spatial_filter.shape[2], spatial_filter.shape[3])
    geometry = _strided(features, size, kernel_size, dilation, stride)
    inputs = (features, channel_filter, spatial_filter)
    return _backward(grad_output, *inputs, geometry, kernel_combine, output_mask)


def ddf_upsample_forward(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: Pair,
    scale_factor: int,
    dilation: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf_upsample` without checks, arguments as in the schema `ddf_seg::ddf_upsample`."""
    size = (spatial_filter.shape[2], spatial_filter.shape[3])
    geometry = _upsampled(features, size, kernel_size, dilation, scale_factor)
    output = _forward(features, channel_filter, spatial_filter, geometry, kernel_combine)
    return like_layout(output, features)


def ddf_upsample_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: Pair,
    scale_factor: int,
    dilation: Pair,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `ddf_upsample`; one that `output_mask` does not ask for is an empty tensor."""
    size = (spatial_filter.shape[2], spatial_filter.shape[3])
    geometry = _upsampled(features, size, kernel_size, dilation, scale_factor)
    inputs = (features, channel_filter, spatial_filter)
    return _backward(grad_output, *inputs, geometry, kernel_combine, output_mask)


def ddf(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: IntPair = 3,
    dilation: IntPair = 1,
    stride: IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    """`ddf_seg.ops.ddf` in plain torch, differentiable to any order by torch's own autograd."""
    arguments = (features, channel_filter, spatial_filter)
    pairs = check_ddf(*arguments, kernel_size, dilation, stride, kernel_combine)
    return ddf_forward(*arguments, *pairs, kernel_combine)


def ddf_upsample(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: IntPair = 3,
    scale_factor: int = 2,
    dilation: IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    """`ddf_seg.ops.ddf_upsample` in plain torch, differentiable to any order."""
    arguments = (features, channel_filter, spatial_filter)
    kernel, dilations = check_ddf_upsample(
        *arguments, kernel_size, scale_factor, dilation, kernel_combine
    )
    return ddf_upsample_forward(*arguments, kernel, scale_factor, dilations, kernel_combine)
