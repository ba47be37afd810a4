"""UPerHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from mmengine.model import ModuleList
from mmseg.models.decode_heads.uper_head import UPerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...decoders.levels import split_ddf_cfg, starts_as_interpolation
from ...decoders.refinement import DDFRefinement, projected_refinement
from ...decoders.upsampling import GuidedUpsample, add_top_down, build_fusion
from ..blocks import gate_convolutions, mmcv_projection


@MODELS.register_module()
class DDFUPerHead(UPerHead):
    """mmseg's UPerHead whose top-down path and fusion upsample by joint DDF.

    The 3×3 convolutions of the top-down path have gated filters beside them. All else is the
    parent's, with its keys: with the parent's weights it computes, at first, what the parent does.

    With another normalization than 'interpolation' in ddf_cfg, the paper's filters: all 3×3
    convolutions become DDF refinements, after a 1×1 convolution where the width changes.

    Args:
        ddf_cfg: as for `GuidedUpsample` (with another normalization: for `DDFPack`, too), and
            `strides`: those of the levels, finest first; default: each twice the one before.
        kwargs: as for UPerHead.

    Raises:
        ValueError: strides that do not fit the levels.
    """

    fpn_convs: nn.ModuleList
    # For ddf_seg.swap, see `Replacement`
    replaces = ('UPerHead',)
    brings = 'DDF in its 3×3 convolutions'
    wants_strides_of = staticmethod(itemgetter('in_index'))

    def __init__(self, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        levels = len(self.in_channels)
        factors, ddf_cfg = split_ddf_cfg(ddf_cfg, levels)
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        if starts_as_interpolation(ddf_cfg):
            gate_convolutions(self.fpn_convs)
        else:
            layers: dict[str, Any] = dict(
                project=mmcv_projection(self.norm_cfg, self.act_cfg), ddf_cfg=ddf_cfg
            )
            pooled = len(self.psp_modules) * self.channels
            self.bottleneck = projected_refinement(
                self.in_channels[-1] + pooled, self.channels, **layers
            )
            self.fpn_convs = ModuleList(DDFRefinement(self.channels, **layers) for _ in factors)
            self.fpn_bottleneck = projected_refinement(
                levels * self.channels, self.channels, **layers
            )
        self.upsamples = ModuleList(
            GuidedUpsample(self.channels, self.channels, factor, resize_cfg, ddf_cfg)
            for factor in factors
        )
        self.fusion = build_fusion(self.channels, factors, resize_cfg, ddf_cfg)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The fused map of the finest level, (B, channels, H, W)."""
        levels = self._transform_inputs(inputs)
        laterals = [
            conv(level) for conv, level in zip(self.lateral_convs, levels[:-1], strict=True)
        ]
        *sums, coarsest = add_top_down([*laterals, self.psp_forward(levels)], self.upsamples)
        outs = [conv(x) for conv, x in zip(self.fpn_convs, sums, strict=True)]
        return self.fpn_bottleneck(self.fusion([*outs, coarsest]))
