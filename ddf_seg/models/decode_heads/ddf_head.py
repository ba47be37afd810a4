"""The flagship decoder: top-down, with guided DDF upsampling and DDF refinement at every level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.registry import MODELS

from .top_down_head import TopDownHead


@MODELS.register_module()
class DDFHead(TopDownHead):
    """Top-down decoder over a backbone's levels with decoupled dynamic filters.

    A map is upsampled with filters that the next finer level predicts (`GuidedUpsample`), and
    refined by a filter of each pixel's own (`DDFRefinement`). By default there are spatial filters
    alone. Channel filters, which ddf_cfg can add, start from noise; networks that were trained for
    a short time with them have scored worse (docs/study.md).

    Args:
        in_channels: channels of the level, or of the levels, finest first.
        channels: width of the finest level, where the classifier stands.
        ddf_cfg: further arguments of `DDFPack` and `DDFUpPack` (kernel_size, head,
            kernel_combine, normalization, branches); branches is 'spatial' if not given.
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
        ddf_cfg = {'branches': 'spatial', **(ddf_cfg or {})}
        super().__init__(
            in_channels,
            channels,
            upsample=dict(type='GuidedUpsample', ddf_cfg=ddf_cfg),
            refine=dict(type='DDFRefinement', ddf_cfg=ddf_cfg),
            **kwargs,
        )
