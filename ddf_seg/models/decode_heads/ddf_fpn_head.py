"""FPNHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule, ModuleList
from mmseg.models.decode_heads.fpn_head import FPNHead
from mmseg.registry import MODELS
from torch import Tensor

from ..utils import GuidedUpsample, projected_refinement, scale_factors


class _Ascent(BaseModule):
    """One level's way to the finest: in turns a refinement and a guided upsampling.

    Args:
        in_channels: channels of the levels up to this one, finest first.
        channels: channels on the way and at its end.
        factors: scale factors between these levels.
        resize_cfg: mode and align_corners of the interpolation.
        layers: norm_cfg, act_cfg and ddf_cfg of the layers.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        factors: Sequence[int],
        resize_cfg: dict[str, Any],
        layers: dict[str, Any],
    ) -> None:
        super().__init__()
        # Between levels of one stride there is nothing to climb.
        self.guides = [i for i in reversed(range(len(factors))) if factors[i] > 1]
        widths = [in_channels[-1], *(channels for _ in self.guides[1:])]
        self.refinements = ModuleList(
            projected_refinement(width, channels, **layers) for width in widths
        )
        self.upsamples = ModuleList(
            GuidedUpsample(
                channels, channels, factors[i], resize_cfg, layers['ddf_cfg'], in_channels[i]
            )
            for i in self.guides
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """The levels up to this one, finest first, to (B, channels, H, W) of the finest."""
        if not self.guides:
            return self.refinements[0](levels[-1])
        x = levels[-1]
        for i, refine, upsample in zip(self.guides, self.refinements, self.upsamples, strict=True):
            x = upsample(refine(x), levels[i])
        return x


@MODELS.register_module()
class DDFFPNHead(FPNHead):
    """mmseg's FPNHead whose levels climb to the finest by joint DDF-Up and DDF refinement.

    Each level is refined before each step, as the parent convolves it by 3×3, and every step is
    guided by the level it leads to. The strides of the levels are `feature_strides`.

    Args:
        ddf_cfg: further arguments of `DDFPack` and `DDFUpPack` (kernel_size, head, se_ratio,
            kernel_combine, …).
        kwargs: as for FPNHead.

    Raises:
        ValueError: a feature stride that is no multiple of the one before.
    """

    # For ddf_seg.swap, see `Replacement`
    replaces = ('FPNHead',)
    brings = 'DDF in its 3×3 convolutions and joint DDF-Up between its feature_strides'
    wants_strides_of = staticmethod(lambda cfg: ())  # feature_strides says them

    def __init__(self, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        factors = scale_factors(self.feature_strides, len(self.in_channels))
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        layers = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg, ddf_cfg=dict(ddf_cfg or {}))
        self.scale_heads = ModuleList(
            _Ascent(
                self.in_channels[: level + 1], self.channels, factors[:level], resize_cfg, layers
            )
            for level in range(len(self.in_channels))
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        levels = self._transform_inputs(inputs)
        maps = [head(levels[: level + 1]) for level, head in enumerate(self.scale_heads)]
        return self.cls_seg(sum(maps[1:], start=maps[0]))
