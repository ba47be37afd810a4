"""Single numbers that describe a filter: norm, spread over its taps, direction, similarity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.cluster import hierarchy
from torch import Tensor

_EPS = 1e-12


def norm(filters: Tensor) -> Tensor:
    """The Euclidean norm of filters (…, kh, kw, H, W): (…, H, W)."""
    return filters.square().sum((-4, -3)).sqrt()


def entropy(filters: Tensor) -> Tensor:
    """How evenly the taps share the filter's magnitude, 0 (one tap) to 1 (all alike).

    Shannon's entropy of |s_t| / Σ|s| over the taps of filters (…, kh, kw, H, W), in units of
    log(kh·kw); a filter of zeros or of a single tap has 0.
    """
    share = filters.abs().flatten(-4, -3)
    share = share / share.sum(-3, keepdim=True).clamp_min(_EPS)
    return torch.special.entr(share).sum(-3) / math.log(max(2, share.shape[-3]))


def orientation(filters: Tensor) -> tuple[Tensor, Tensor]:
    """Anisotropy and dominant direction, from the structure tensor of each filter.

    The structure tensor sums the outer products of the filter's gradients (differences at the
    corners between taps, zeros around the filter). Anisotropy is (λ1 − λ2) / (λ1 + λ2) of its
    eigenvalues, known as coherence; the direction is the one the filter changes least along, the
    direction of a line that it follows.

    Args:
        filters: (…, kh, kw, H, W).

    Returns:
        Anisotropy, 0 to 1, and direction in radians, 0 (along rows) to π, counter-clockwise as
        seen in the image; each (…, H, W).
    """
    # Taps last, as padding wants them.
    taps = torch.nn.functional.pad(filters.movedim((-4, -3), (-2, -1)), (1, 1, 1, 1))
    a, b = taps[..., :-1, :-1], taps[..., :-1, 1:]
    c, d = taps[..., 1:, :-1], taps[..., 1:, 1:]
    across, down = (b - a + d - c) / 2, (c - a + d - b) / 2
    xx, yy, xy = (
        product.sum((-2, -1)) for product in (across * across, down * down, across * down)
    )
    difference, total = torch.hypot(xx - yy, 2 * xy), xx + yy
    steepest = torch.atan2(2 * xy, xx - yy) / 2
    # Rows count downwards: the angle that the eye sees is the negative one.
    direction = torch.remainder(math.pi / 2 - steepest, math.pi)
    return difference / total.clamp_min(_EPS), direction


def similarity(filters: Tensor, y: int, x: int) -> Tensor:
    """The cosine between a pixel's filters and every other's.

    Args:
        filters: (G, kh, kw, H, W); all groups count as one vector.
        y, x: the pixel.

    Returns:
        (H, W), −1 to 1.
    """
    vectors = filters.flatten(0, 2)
    length = vectors.square().sum(0).sqrt().clamp_min(_EPS)
    mine = vectors[:, y, x] / length[y, x]
    return (vectors * mine[:, None, None]).sum(0) / length


@dataclass
class ClassFilters:
    """The filters of the pixels of a class.

    Attributes:
        index: of the class.
        pixels: how many there are.
        mean: (kh, kw).
        spread: their standard deviation at each tap, (kh, kw).
    """

    index: int
    pixels: int
    mean: Tensor
    spread: Tensor


def class_filters(filters: Tensor, labels: Tensor) -> list[ClassFilters]:
    """Mean and spread of the filters of each class, in the order of their indices.

    Args:
        filters: (kh, kw, H, W).
        labels: (H, W), integers; negative ones belong to no class.
    """
    found = []
    for index in torch.unique(labels[labels >= 0]).tolist():
        own = filters[:, :, labels == index].double()
        spread = own.std(-1, correction=0).float()
        found.append(ClassFilters(index, own.shape[-1], own.mean(-1).float(), spread))
    return found


def sort_channels(channel_filters: Tensor) -> Tensor:
    """An order of the channels in which neighbours have similar filters.

    The leaves of a tree of the channels, average linkage, ordered optimally.

    Args:
        channel_filters: (phases, C, kh, kw).

    Returns:
        The channels' indices, (C,).
    """
    rows = channel_filters.transpose(0, 1).flatten(1).double().numpy()
    if len(rows) < 2:
        return torch.arange(len(rows))
    # The optimal order takes the cube of their number.
    tree = hierarchy.linkage(rows, 'average', optimal_ordering=len(rows) <= 512)
    return torch.from_numpy(hierarchy.leaves_list(tree).astype('int64'))


def bilinear_weights(scale_factor: int, kernel_size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation as filters of the r² phases, (r², kh, kw).

    As torch's interpolate with align_corners=False has it, away from the border.
    """
    axes = []
    for size in kernel_size:
        phase = (torch.arange(scale_factor) + 0.5) / scale_factor - 0.5
        tap = torch.arange(size) - size // 2
        axes.append((1 - (tap - phase[:, None]).abs()).clamp_min(0))
    rows, columns = axes
    weights = rows[:, None, :, None] * columns[None, :, None, :]
    return weights.flatten(0, 1)
