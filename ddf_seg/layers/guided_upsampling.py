"""A step of guided upsampling as one operator, in exported programs alone.

In one piece, its logits, filters and sums can share a layout (`ddf_seg.deployment`). Elsewhere it
is what it is composed of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..ops import ddf_upsample
from ..ops.interpolation_softmax import interpolation_softmax
from .branches import in_pixels
from .guided_branch import fitted

torch.library.define(
    'ddf_seg::guided_upsample',
    '(Tensor of_guide, Tensor? query, Tensor? by_phase, Tensor? key, Tensor rows, Tensor columns,'
    ' Tensor[] maps, int scale_factor, bool summed) -> Tensor[]',
)


def composed(
    of_guide: Tensor,
    query: Tensor | None,
    by_phase: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    maps: Sequence[Tensor],
    scale_factor: int,
    summed: bool,
) -> list[Tensor]:
    """`ddf_seg::guided_upsample` by the operators of its parts: maps by filters of shared logits.

    Args:
        of_guide, query, by_phase, key: as `GuidedBranch.parts` gives them, of one group.
        rows, columns: tables, as for `interpolation_softmax`.
        maps: (B, C, H, W), one for each map of the tables.
        scale_factor: r.
        summed: whether the sum of the upsampled maps is wanted alone.

    Returns:
        (B, C, H', W') for each map, or their sum.
    """
    k = rows.shape[1]
    logits = of_guide
    if by_phase is not None:
        coarse = in_pixels(by_phase, scale_factor)
        logits = logits + fitted(coarse, maps[0], of_guide, scale_factor)
    filters = interpolation_softmax(logits, query, key, rows, columns, scale_factor)
    upsampled = [
        ddf_upsample(x, None, of_map, k, scale_factor)
        for x, of_map in zip(maps, filters.split(k * k, dim=1), strict=True)
    ]
    return [sum(upsampled[1:], start=upsampled[0])] if summed else upsampled


torch.library.impl('ddf_seg::guided_upsample', 'CompositeImplicitAutograd', composed)
guided_upsample = torch.ops.ddf_seg.guided_upsample
