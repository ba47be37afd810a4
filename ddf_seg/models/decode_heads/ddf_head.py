"""The flagship decoder: top-down, with guided upsampling and gated filters at every level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.registry import MODELS

from ..blocks.levels import layer_arguments, starts_as_interpolation
from .top_down_head import TopDownHead


@MODELS.register_module()
class DDFHead(TopDownHead):
    """Top-down decoder over a backbone's levels with decoupled dynamic filters.

    A map is upsampled by filters that the next finer level predicts and that start as
    interpolation (`GuidedUpsample`), and refined by a depthwise and a 1×1 convolution with gated
    filters of each pixel's own (`GatedRefinement`).

    With another normalization than 'interpolation' in ddf_cfg, the paper's filters
    (`DDFRefinement`), the spatial ones alone unless it asks for both branches. So checkpoints of
    earlier DDFHeads load with ddf_cfg=dict(normalization='filter_norm').

    Args:
        in_channels: channels of the level, or of the levels, finest first.
        channels: width of the finest level, where the classifier stands.
        ddf_cfg: as for `GuidedUpsample` (with another normalization: for `DDFPack`, too).
        kwargs: as for `TopDownHead`.

    Raises:
        ValueError: as `TopDownHead`.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        ddf_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        ddf_cfg = {'branches': 'spatial', **layer_arguments(ddf_cfg)}
        refine: dict[str, Any] = dict(type='GatedRefinement')
        if not starts_as_interpolation(ddf_cfg):
            refine = dict(type='DDFRefinement', ddf_cfg=ddf_cfg)
        super().__init__(
            in_channels,
            channels,
            upsample=dict(type='GuidedUpsample', ddf_cfg=ddf_cfg),
            refine=refine,
            **kwargs,
        )
