"""The operators in plain torch: the formula, one tap of the kernel at a time.

`ddf` and `ddf_upsample` here are differentiable by torch's own autograd and serve as the
reference for every other implementation. The functions below them are what `ddf_seg.ops` runs
where no compiled kernel is at hand; their gradients are written out, so that memory stays at a
few maps of the output's size whatever the kernel size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def strided_size(features: Tensor, spatial_filter: Tensor | None, stride: Sequence[int]) -> Pair:
    """Size of `ddf`'s output: that of S, or of X over the stride, rounded up, which is the same."""
    if spatial_filter is not None:
        return spatial_filter.shape[2], spatial_filter.shape[3]
    height, width = features.shape[2:]
    return (height + stride[0] - 1) // stride[0], (width + stride[1] - 1) // stride[1]


def upsampled_size(features: Tensor, spatial_filter: Tensor | None, scale_factor: int) -> Pair:
    """Size of `ddf_upsample`'s output: that of S, or without it r times that of X."""
    if spatial_filter is not None:
        return spatial_filter.shape[2], spatial_filter.shape[3]
    return scale_factor * features.shape[2], scale_factor * features.shape[3]


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


def _weight(of_channel: Tensor | None, of_pixel: Tensor | None, kernel_combine: str) -> Tensor:
    """What a tap's value is multiplied by: F ∘ S, or the one that there is."""
    if of_channel is None or of_pixel is None:
        weight = of_pixel if of_channel is None else of_channel
        assert weight is not None
        return weight
    return of_channel * of_pixel if kernel_combine == 'mul' else of_channel + of_pixel


def _to_channels(group_map: Tensor, channels: int) -> Tensor:
    """(B, G, H', W') to (B, C, H', W'): channel c belongs to group c // (C / G)."""
    groups = group_map.shape[1]
    if groups in (1, channels):
        return group_map
    return group_map.repeat_interleave(channels // groups, dim=1)


@dataclass(frozen=True)
class _Filters:
    """Both filters, or one and None, in the type of the sums, a tap at a time.

    Attributes:
        channel: (B, C, kh, kw) or (B, r², C, kh, kw).
        spatial: (B, G, kh·kw, H', W').
        scale: side of the square of phases.
        channels: C.
        size: (H', W').
    """

    channel: Tensor | None
    spatial: Tensor | None
    scale: int
    channels: int
    size: Pair

    def of_channel(self, iy: int, ix: int) -> Tensor | None:
        """F at a tap, as a map that fits (B, C, H', W')."""
        if self.channel is None:
            return None
        return _phases_to_pixels(self.channel[..., iy, ix], self.scale, self.size)

    def of_pixel(self, tap: int) -> Tensor | None:
        """S at a tap, as a map that fits (B, C, H', W')."""
        if self.spatial is None:
            return None
        return _to_channels(self.spatial[:, :, tap], self.channels)


def _filters(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    geometry: _Geometry,
    size: Pair,
) -> _Filters:
    dtype, taps = _accumulate_dtype(features.dtype), geometry.kernel[0] * geometry.kernel[1]
    return _Filters(
        None if channel_filter is None else channel_filter.to(dtype),
        None if spatial_filter is None else spatial_filter.to(dtype).unflatten(1, (-1, taps)),
        geometry.scale,
        features.shape[1],
        size,
    )


def _forward(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    geometry: _Geometry,
    size: Pair,
    kernel_combine: str,
) -> Tensor:
    dtype = _accumulate_dtype(features.dtype)
    vertical, horizontal = _margins(geometry.kernel, geometry.dilation)
    padded = F.pad(features.to(dtype), (horizontal, horizontal, vertical, vertical))
    filters = _filters(features, channel_filter, spatial_filter, geometry, size)
    output = features.new_zeros((*features.shape[:2], *size), dtype=dtype)
    for tap, (iy, ix, rows, columns) in enumerate(geometry.taps()):
        patch = padded[:, :, rows][..., columns]
        weight = _weight(filters.of_channel(iy, ix), filters.of_pixel(tap), kernel_combine)
        output = output + weight * patch
    return output.to(features.dtype)


def _backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    geometry: _Geometry,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = _accumulate_dtype(features.dtype)
    vertical, horizontal = _margins(geometry.kernel, geometry.dilation)
    padded = F.pad(features.to(dtype), (horizontal, horizontal, vertical, vertical))
    size = (grad_output.shape[2], grad_output.shape[3])
    filters = _filters(features, channel_filter, spatial_filter, geometry, size)
    upstream = grad_output.to(dtype)

    grad_padded = torch.zeros_like(padded)
    grad_channel = grad_spatial = None
    if filters.channel is not None and output_mask[1]:
        grad_channel = torch.zeros_like(filters.channel)
    if filters.spatial is not None and output_mask[2]:
        grad_spatial = torch.zeros_like(filters.spatial)
    for tap, (iy, ix, rows, columns) in enumerate(geometry.taps()):
        of_channel, of_pixel = filters.of_channel(iy, ix), filters.of_pixel(tap)
        if output_mask[0]:
            weight = _weight(of_channel, of_pixel, kernel_combine)
            _add_at(grad_padded, rows, columns, upstream * weight)
        if grad_channel is None and grad_spatial is None:
            continue
        grad_weight = upstream * padded[:, :, rows][..., columns]
        if grad_channel is not None:
            of_weight = grad_weight
            if of_pixel is not None and kernel_combine == 'mul':
                of_weight = grad_weight * of_pixel
            phased = grad_channel.dim() == 5
            grad_channel[..., iy, ix] = _pixels_to_phases(of_weight, geometry.scale, phased)
        if grad_spatial is not None:
            of_weight = grad_weight
            if of_channel is not None and kernel_combine == 'mul':
                of_weight = grad_weight * of_channel
            grad_spatial[:, :, tap] = of_weight.unflatten(1, (grad_spatial.shape[1], -1)).sum(2)

    height, width = features.shape[2:]
    inside = grad_padded[:, :, vertical : vertical + height, horizontal : horizontal + width]
    gradients = (
        inside if output_mask[0] else None,
        grad_channel,
        None if grad_spatial is None else grad_spatial.flatten(1, 2),
    )
    kept = [
        features.new_empty(0) if g is None or x is None else like_layout(g.to(x.dtype), x)
        for g, x in zip(gradients, (features, channel_filter, spatial_filter), strict=True)
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
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    dilation: Pair,
    stride: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf` without checks, arguments as in the schema `ddf_seg::ddf`."""
    size = strided_size(features, spatial_filter, stride)
    geometry = _strided(features, size, kernel_size, dilation, stride)
    output = _forward(features, channel_filter, spatial_filter, geometry, size, kernel_combine)
    return like_layout(output, features)


def ddf_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    dilation: Pair,
    stride: Pair,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `ddf`; one that `output_mask` does not ask for is an empty tensor."""
    size = strided_size(features, spatial_filter, stride)
    geometry = _strided(features, size, kernel_size, dilation, stride)
    inputs = (features, channel_filter, spatial_filter)
    return _backward(grad_output, *inputs, geometry, kernel_combine, output_mask)


def ddf_upsample_forward(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    scale_factor: int,
    dilation: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf_upsample` without checks, arguments as in the schema `ddf_seg::ddf_upsample`."""
    size = upsampled_size(features, spatial_filter, scale_factor)
    geometry = _upsampled(features, size, kernel_size, dilation, scale_factor)
    output = _forward(features, channel_filter, spatial_filter, geometry, size, kernel_combine)
    return like_layout(output, features)


def ddf_upsample_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    scale_factor: int,
    dilation: Pair,
    kernel_combine: str,
    output_mask: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `ddf_upsample`; one that `output_mask` does not ask for is an empty tensor."""
    size = upsampled_size(features, spatial_filter, scale_factor)
    geometry = _upsampled(features, size, kernel_size, dilation, scale_factor)
    inputs = (features, channel_filter, spatial_filter)
    return _backward(grad_output, *inputs, geometry, kernel_combine, output_mask)


def ddf(
    features: Tensor,
    channel_filter: Tensor | None = None,
    spatial_filter: Tensor | None = None,
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
    channel_filter: Tensor | None = None,
    spatial_filter: Tensor | None = None,
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
