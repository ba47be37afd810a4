"""ASPPHead and DepthwiseSeparableASPPHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import Sequential
from mmseg.models.decode_heads.aspp_head import ASPPModule
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...decoders.levels import split_ddf_cfg, starts_as_interpolation
from ...decoders.refinement import DDFRefinement, GatedAddition, projected_refinement
from ...decoders.upsampling import GuidedUpsample
from ..blocks import gate_convolutions, mmcv_projection


@MODELS.register_module()
class DDFASPPHead(DepthwiseSeparableASPPHead):
    """mmseg's atrous pyramid heads with DDF: DeepLabV3+'s, and without a first level DeepLabV3's.

    The pyramid's result is brought to the backbone's first level by joint DDF-Up, and the depthwise
    convolutions there have gated filters beside them (DepthwiseSeparableASPPHead). Without
    `c1_in_channels` there is no finer level, and gated filters are added to the result (ASPPHead).
    All else is the parent's, with its keys: with the parent's weights it computes, at first, what
    the parent does.

    With another normalization than 'interpolation' in ddf_cfg, the paper's filters: every 3×3
    convolution, those of the pyramid, too, becomes a 1×1 convolution and a DDF refinement of its
    dilation.

    Args:
        c1_in_channels: channels of the backbone's first level; 0: it is not used.
        c1_channels: channels of its projection.
        ddf_cfg: as for `GuidedUpsample` (with another normalization: for `DDFPack`, too), and
            `strides`: those of the backbone's first level and of the one at in_index; default: one
            twice the other. Without `c1_in_channels`, as for `GatedAddition`.
        kwargs: as for ASPPHead.

    Raises:
        ValueError: strides that do not fit.
    """

    sep_bottleneck: Any
    # For ddf_seg.swap, see `Replacement`
    replaces = ('ASPPHead', 'DepthwiseSeparableASPPHead')
    brings = 'DDF in its 3×3 convolutions'

    @staticmethod
    def wants_strides_of(cfg: dict[str, Any]) -> Sequence[int]:
        return [0, cfg.get('in_index', -1)] if cfg.get('c1_in_channels') else []

    def __init__(
        self,
        c1_in_channels: int = 0,
        c1_channels: int = 0,
        ddf_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(c1_in_channels=c1_in_channels, c1_channels=c1_channels, **kwargs)
        (factor,), ddf_cfg = split_ddf_cfg(ddf_cfg, 2)
        self.refinement: nn.Module | None = None
        self.upsample: nn.Module | None = None
        if self.c1_bottleneck is not None:
            resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
            self.upsample = GuidedUpsample(
                self.channels, self.channels, factor, resize_cfg, ddf_cfg, c1_channels
            )
        if not starts_as_interpolation(ddf_cfg):
            self._replace_convolutions(ddf_cfg, c1_channels)
        elif self.upsample is not None:
            gate_convolutions(self.sep_bottleneck)
        else:
            # As in ASPPHead: dense branches, and nothing after them.
            self.aspp_modules = ASPPModule(
                self.dilations,
                self.in_channels,
                self.channels,
                conv_cfg=self.conv_cfg,
                norm_cfg=self.norm_cfg,
                act_cfg=self.act_cfg,
            )
            self.sep_bottleneck = None
            self.refinement = GatedAddition(self.channels, ddf_cfg)

    def _replace_convolutions(self, ddf_cfg: dict[str, Any], c1_channels: int) -> None:
        project = mmcv_projection(self.norm_cfg, self.act_cfg)
        for branch, dilation in enumerate(self.dilations):
            if dilation > 1:
                self.aspp_modules[branch] = projected_refinement(
                    self.in_channels, self.channels, project, {**ddf_cfg, 'dilation': dilation}
                )
        self.bottleneck = projected_refinement(
            (len(self.dilations) + 1) * self.channels, self.channels, project, ddf_cfg
        )
        self.sep_bottleneck = None
        if self.upsample is not None:
            self.sep_bottleneck = Sequential(
                projected_refinement(self.channels + c1_channels, self.channels, project, ddf_cfg),
                DDFRefinement(self.channels, project, ddf_cfg),
            )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W)."""
        x = self._forward_feature(inputs)
        if self.upsample is not None:
            guide = self.c1_bottleneck(inputs[0])
            x = self.sep_bottleneck(torch.cat([self.upsample(x, guide), guide], dim=1))
        elif self.refinement is not None:
            x = self.refinement(x)
        return self.cls_seg(x)
