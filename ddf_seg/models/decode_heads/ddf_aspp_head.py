"""ASPPHead and DepthwiseSeparableASPPHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import Sequential
from mmseg.models.decode_heads.sep_aspp_head import DepthwiseSeparableASPPHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..utils import DDFRefinement, GuidedUpsample, projected_refinement, split_ddf_cfg


@MODELS.register_module()
class DDFASPPHead(DepthwiseSeparableASPPHead):
    """mmseg's atrous pyramid heads, DeepLabV3's and V3+'s, with dilated DDF in the branches.

    Every 3×3 convolution becomes a 1×1 convolution and a DDF refinement of its dilation. With
    `c1_in_channels`, joint DDF-Up brings the result to the backbone's first level, where it is
    refined (as DepthwiseSeparableASPPHead does); without, the head is like ASPPHead.

    Args:
        c1_in_channels: channels of the backbone's first level; 0: it is not used.
        c1_channels: channels of its projection.
        ddf_cfg: further arguments of `DDFPack` and `DDFUpPack` (kernel_size, head, se_ratio,
            kernel_combine, …), and `strides`: those of the backbone's first level and of the one
            at in_index; default: one twice the other.
        kwargs: as for ASPPHead.

    Raises:
        ValueError: strides that do not fit.
    """

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
        layers = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        for branch, dilation in enumerate(self.dilations):
            if dilation > 1:
                self.aspp_modules[branch] = projected_refinement(
                    self.in_channels,
                    self.channels,
                    ddf_cfg={**ddf_cfg, 'dilation': dilation},
                    **layers,
                )
        layers['ddf_cfg'] = ddf_cfg
        self.bottleneck = projected_refinement(
            (len(self.dilations) + 1) * self.channels, self.channels, **layers
        )
        self.sep_bottleneck: nn.Module | None = None
        if self.c1_bottleneck is not None:
            resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
            self.upsample = GuidedUpsample(
                self.channels, self.channels, factor, resize_cfg, ddf_cfg, c1_channels
            )
            self.sep_bottleneck = Sequential(
                projected_refinement(self.channels + c1_channels, self.channels, **layers),
                DDFRefinement(self.channels, **layers),
            )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W)."""
        x = self._forward_feature(inputs)
        if self.sep_bottleneck is not None:
            guide = self.c1_bottleneck(inputs[0])
            x = self.sep_bottleneck(torch.cat([self.upsample(x, guide), guide], dim=1))
        return self.cls_seg(x)
