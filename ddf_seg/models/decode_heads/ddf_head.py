"""The flagship decoder: top-down, with guided upsampling and gated filters at every level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.registry import MODELS

from ...decoders.top_down import DDFDecoder
from .top_down_head import LevelsHead


@MODELS.register_module()
class DDFHead(LevelsHead):
    """`DDFDecoder`, a top-down decoder with decoupled dynamic filters, as a head of mmseg.

    Checkpoints of earlier DDFHeads load with ddf_cfg=dict(normalization='filter_norm').

    Args:
        in_channels, channels, kwargs: as for `LevelsHead`.
        ddf_cfg, strides, widths: as for `DDFDecoder`.

    Raises:
        ValueError: as `DDFDecoder`.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        ddf_cfg: dict[str, Any] | None = None,
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, channels, **kwargs)
        self.take_over(
            DDFDecoder(
                self.level_channels,
                channels,
                ddf_cfg=ddf_cfg,
                align_corners=self.align_corners,
                project=self.project,
                strides=strides,
                widths=widths,
            )
        )
