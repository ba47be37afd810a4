"""The operators in what every runtime knows: products of matrices, or multiply-adds of slices.

The kernels in plain torch write into buffers, which exported programs must not. These forms are
purely functional, and compute in their tensors' dtype.

Of the forms that were measured (docs/deployment.md) these are the fastest. Filters that channels
share and affinity are products, tile by tile (`Tiles`), but for `ddf` with a stride or a dilation.
Where channels have filters of their own, `ddf` works on slices, and so does upsampling, phase by
phase at the size of the features, with a pixel shuffle at the end. A step of guided upsampling is
one operator, which keeps the layout of the products throughout (`guided`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import layers, ops  # noqa: F401  (define the operators)
from ..ops.depthwise_pointwise import as_convolution
from ..ops.filter_norm import LEAST_VARIANCE
from ..ops.interpolation_softmax import as_torch as interpolation_softmax
from ..ops.reference import strided_size, upsampled_size
from ..ops.torch_internals import is_known
from .guided import guided_upsample
from .tiles import Pair, Tiles

_SIDE = 4  # of a tile, where the map keeps its size


def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """The forward operators' decompositions, for `ExportedProgram.run_decompositions`.

    And those of a pooling of torch's, which ONNX lacks where sizes are free, and of softmax.
    """
    defined, aten = torch.ops.ddf_seg, torch.ops.aten
    return {
        aten.adaptive_avg_pool2d.default: adaptive_average,
        aten._adaptive_avg_pool2d.default: adaptive_average,
        aten.softmax.int: softmax,
        defined.ddf.default: ddf,
        defined.ddf_upsample.default: ddf_upsample,
        defined.affinity.default: affinity,
        defined.filter_norm.default: filter_norm,
        defined.depthwise_pointwise.default: depthwise_pointwise,
        defined.interpolation_softmax.default: interpolation_softmax,
        defined.guided_upsample.default: guided_upsample,
    }


def ddf(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    dilation: Pair,
    stride: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf_seg::ddf`."""
    geometry = (kernel_size, dilation, stride)
    if (
        kernel_combine == 'add'
        and channel_filter is not None
        and spatial_filter is not None
        and (channel_filter.shape[0] == 1 or channel_filter.stride(0) == 0)
    ):
        # (F + S) · X = F · X + S · X, and the first is a depthwise convolution.
        static = F.conv2d(
            features, channel_filter[0, :, None], None, stride, _margins(kernel_size, dilation),
            dilation, features.shape[1],
        )  # fmt: skip
        return static + ddf(features, None, spatial_filter, *geometry, 'add')
    size = strided_size(features, spatial_filter, stride)
    x, by_channel, by_pixel = _one_group(features, channel_filter, spatial_filter, kernel_size)
    if by_channel is None and by_pixel is not None and max(*dilation, *stride) == 1:
        tiles = Tiles.over(size, 1, _SIDE)
        filters = tiles.spread(tiles.by_parent(by_pixel), kernel_size)
        filtered = tiles.in_rows(filters @ tiles.windows(x, kernel_size), size)
        return filtered.reshape(-1, features.shape[1], *size)
    patches = _patches(x, size, *geometry)
    by_tap = None
    if by_channel is not None:
        by_tap = [by_channel[:, :, iy, ix, None, None] for iy, ix in _taps(kernel_size)]
    total = _filtered(patches, by_tap, by_pixel, kernel_combine)
    return total.reshape(-1, features.shape[1], *size)


def ddf_upsample(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
    scale_factor: int,
    dilation: Pair,
    kernel_combine: str,
) -> Tensor:
    """`ddf_seg::ddf_upsample`."""
    r, size = scale_factor, upsampled_size(features, spatial_filter, scale_factor)
    x, by_channel, by_pixel = _one_group(features, channel_filter, spatial_filter, kernel_size)
    if by_channel is None and by_pixel is not None:
        # Windows of 2×2 parents overlap, so that less is gathered; each needs a place of its own.
        whole = (is_known(high <= r * low) for low, high in zip(x.shape[2:], size, strict=True))
        tiles = Tiles.over(size, r, 2 if max(dilation) == 1 and all(whole) else 1)
        filters = tiles.spread(tiles.by_parent(by_pixel), kernel_size)
        fine = tiles.in_rows(filters @ tiles.windows(x, kernel_size, dilation), size)
        return fine.reshape(-1, features.shape[1], *size)
    assert by_channel is not None
    if by_pixel is not None:
        by_pixel = _to_phases(by_pixel, x, r)
    patches = _coarse_patches(x, by_pixel, kernel_size, dilation)
    # (B, C, phases or 1, 1, 1) for every tap
    by_phase = by_channel if by_channel.dim() == 5 else by_channel[:, None]
    by_tap = [
        by_phase[..., iy, ix].transpose(1, 2)[..., None, None] for iy, ix in _taps(kernel_size)
    ]
    total = _filtered(patches, by_tap, by_pixel, kernel_combine)
    if total.shape[2] == 1:  # filters that the phases share, and no others
        total = total.expand(-1, -1, r * r, -1, -1)
    fine = _to_pixels(total, r, size)
    return fine.reshape(-1, features.shape[1], *size)


def affinity(
    query: Tensor, features: Tensor, kernel_size: Pair, scale_factor: int, dilation: Pair
) -> Tensor:
    """`ddf_seg::affinity`."""
    tiles = Tiles.over(query.shape[2:], scale_factor, 1)
    windows = tiles.windows(features, kernel_size, dilation)
    return tiles.in_rows(tiles.gather(query) @ windows.transpose(2, 3), query.shape[2:])


def filter_norm(
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None = None,
    std: Tensor | None = None,
    mean: Tensor | None = None,
) -> Tensor:
    """`ddf_seg::filter_norm`."""
    split = filters.unflatten(1, (-1, taps))
    # Seen from its first tap, a constant filter is exactly 0.
    shifted = split - split[:, :, :1]
    centered = shifted - shifted.mean(dim=2, keepdim=True)
    variance = (centered * centered).sum(dim=2, keepdim=True) / (taps - 1)
    deviation = variance.clamp_min(LEAST_VARIANCE).sqrt()
    added = eps if scale is None else eps * scale
    normalized = (centered * (gain / (deviation + added))).flatten(1, 2)
    if std is not None:
        normalized = normalized * std[:, None, None]
    if mean is not None:
        normalized = normalized + mean[:, None, None]
    return normalized.to(filters.dtype)


def depthwise_pointwise(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> Tensor:
    """`ddf_seg::depthwise_pointwise`, phase by phase."""
    if depthwise is None:
        return as_convolution(x, depthwise, pointwise, bias, scale_factor)
    phases, channels, side, _ = depthwise.shape
    parts = [
        F.conv2d(
            F.conv2d(x, first[:, None], None, padding=side // 2, groups=channels),
            second[..., None, None], added,
        )
        for first, second, added in zip(
            depthwise.unbind(0), pointwise.unbind(0), bias.view(phases, -1).unbind(0), strict=True
        )
    ]  # fmt: skip
    if scale_factor == 1:
        return torch.cat(parts, dim=1) if phases > 1 else parts[0]
    return F.pixel_shuffle(torch.stack(parts, dim=2).flatten(1, 2), scale_factor)


def softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """`aten::softmax`; ONNX Runtime turns other axes than the last around, number by number."""
    x = x if dtype is None else x.to(dtype)
    if dim in (-1, x.dim() - 1):
        return torch._softmax(x, dim, False)
    raised = (x - x.amax(dim, keepdim=True)).exp()
    return raised / raised.sum(dim, keepdim=True)


def adaptive_average(x: Tensor, size: Pair) -> Tensor:
    """`aten::adaptive_avg_pool2d`, as products with a matrix for each axis."""
    if all(n == 1 for n in size):
        return x.mean(dim=(2, 3), keepdim=True)
    rows, columns = (_bins(n, count) for n, count in zip(x.shape[2:], size, strict=True))
    return rows.to(x) @ x @ columns.to(x).transpose(0, 1)


def _bins(size: int, count: int) -> Tensor:
    """What each of `count` means takes of each of `size` samples, (count, size)."""
    sample, index = torch.arange(size), torch.arange(count)[:, None]
    first, end = index * size // count, ((index + 1) * size + count - 1) // count
    return ((sample >= first) & (sample < end)) / (end - first)


def _taps(kernel_size: Pair) -> Iterator[tuple[int, int]]:
    return ((iy, ix) for iy in range(kernel_size[0]) for ix in range(kernel_size[1]))


def _margins(kernel_size: Pair, dilation: Pair) -> list[int]:
    return [k // 2 * d for k, d in zip(kernel_size, dilation, strict=True)]


def _one_group(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: Pair,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The three with groups as images, so that all channels of an image share a filter."""
    taps = kernel_size[0] * kernel_size[1]
    groups = 1 if spatial_filter is None else spatial_filter.shape[1] // taps
    if spatial_filter is None or groups == 1:
        return features, channel_filter, spatial_filter
    if channel_filter is not None:
        channels = channel_filter.dim() - 3
        by_group = channel_filter.unflatten(channels, (groups, -1)).movedim(channels, 1)
        channel_filter = by_group.flatten(0, 1)
    return (
        features.unflatten(1, (groups, -1)).flatten(0, 1),
        channel_filter,
        spatial_filter.unflatten(1, (groups, -1)).flatten(0, 1),
    )


def _patches(
    x: Tensor, size: Sequence[int], kernel_size: Pair, dilation: Pair, stride: Pair = (1, 1)
) -> list[Tensor]:
    """For each tap, what of x (…, H, W) it meets, (…, *size)."""
    vertical, horizontal = _margins(kernel_size, dilation)
    padded = F.pad(x, (horizontal, horizontal, vertical, vertical))
    height, width = ((n - 1) * s + 1 for n, s in zip(size, stride, strict=True))
    found = []
    for iy in range(kernel_size[0]):
        top = iy * dilation[0]
        rows = padded[..., top : top + height : stride[0], :]
        lefts = (ix * dilation[1] for ix in range(kernel_size[1]))
        found += [rows[..., left : left + width : stride[1]] for left in lefts]
    return found


def _filtered(
    patches: Sequence[Tensor],
    by_channel: Sequence[Tensor] | None,
    by_pixel: Tensor | None,
    kernel_combine: str,
) -> Tensor:
    """The sum over the taps of (F ∘ S) · X, or with the filter that there is.

    Args:
        patches: X for each tap, (B, C, …).
        by_channel: F for each tap, (B, C, …).
        by_pixel: S, (B, taps, …).
        kernel_combine: 'mul' or 'add'.
    """
    by_tap = None if by_pixel is None else by_pixel.split(1, dim=1)
    total: Tensor | None = None
    for tap, x in enumerate(patches):
        if by_channel is None or by_tap is None:
            term = x * (by_channel or by_tap or [])[tap]
        elif kernel_combine == 'mul':
            term = x * by_channel[tap] * by_tap[tap]
        else:
            term = x * (by_channel[tap] + by_tap[tap])
        total = term if total is None else total + term
    assert total is not None
    return total


def _to_phases(fine: Tensor, coarse: Tensor, r: int) -> Tensor:
    """(B, n, H', W') to (B, n, r², H, W), or a row or column more: those of the last parent.

    Free sizes get them wherever they may need them.
    """
    if r == 1:
        return fine[:, :, None]
    missing = []
    for low, high in zip(coarse.shape[2:], fine.shape[2:], strict=True):
        parents = low if is_known(high <= r * low) else low + 1
        missing.append(r * parents - high)
    fine = F.pad(fine, (0, missing[1], 0, missing[0]))
    return F.pixel_unshuffle(fine, r).unflatten(1, (-1, r * r))


def _coarse_patches(
    x: Tensor, by_phase: Tensor | None, kernel_size: Pair, dilation: Pair
) -> list[Tensor]:
    """`_patches` of x (B, C, H, W) for all phases alike, (B, C, 1, H, W).

    Where `by_phase` has a row or column more, the last one of each patch is repeated.
    """
    patches = _patches(x[:, :, None], x.shape[2:], kernel_size, dilation)
    for axis in (3, 4):
        if by_phase is not None and is_known(by_phase.shape[axis] > patches[0].shape[axis]):
            patches = [
                torch.cat([patch, patch.narrow(axis, patch.shape[axis] - 1, 1)], dim=axis)
                for patch in patches
            ]
    return patches


def _to_pixels(by_phase: Tensor, r: int, size: Sequence[int]) -> Tensor:
    """(B, n, r², H, W) to (B, n, *size), where no more was asked for."""
    if r == 1:
        return by_phase.squeeze(2)
    return F.pixel_shuffle(by_phase.flatten(1, 2), r)[:, :, : size[0], : size[1]]
