"""A top-down decoder with a choice of upsampling and refinement."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import ModuleList
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor

from ..blocks.levels import scale_factors


@MODELS.register_module()
class TopDownHead(BaseDecodeHead):
    """Top-down decoder over a backbone's levels.

    Each level is brought to a common width by a 1×1 convolution. From the coarsest to the finest,
    the map so far is upsampled, added to that level, and refined. The finest level is classified.

    Args:
        in_channels: channels of the level, or of the levels, finest first.
        channels: width of the finest level, where the classifier stands.
        upsample: config of the upsampling layers, which are built with in_channels, channels,
            scale_factor and resize_cfg, and called with a map and the level to reach.
        refine: config of the refinements, built with channels, norm_cfg and act_cfg.
        in_index: index of the level, or of the levels, finest first. Neighbours differ by a factor
            of 2, or by the power of 2 that `strides` says.
        strides: strides of the levels; default: each twice the one before.
        widths: width of each level, finest first; default: `channels` for all.
        kwargs: as for mmseg's BaseDecodeHead; input_transform is derived.

    Raises:
        ValueError: lists of different lengths, `widths` whose first is not `channels`, or a level
            that is not coarser than the one before.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        upsample: dict[str, Any],
        refine: dict[str, Any],
        in_index: int | Sequence[int] = -1,
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        single = isinstance(in_channels, int)
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform=None if single else 'multiple_select',
            **kwargs,
        )
        levels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        factors = scale_factors(strides, len(levels))
        widths = list(widths) if widths is not None else [channels] * len(levels)
        if len(widths) != len(levels):
            raise ValueError(f'widths: expected {len(levels)} values, got {widths}')
        if widths[0] != channels:
            raise ValueError(f'widths: expected to start with channels {channels}, got {widths}')
        if 1 in factors:
            raise ValueError(f'strides: expected each above the one before, got {strides}')
        layers = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        self.laterals = ModuleList(
            ConvModule(c, w, 1, inplace=False, **layers)
            for c, w in zip(levels, widths, strict=True)
        )
        self.upsamples = ModuleList(
            MODELS.build(
                dict(
                    in_channels=coarse,
                    channels=fine,
                    scale_factor=factor,
                    resize_cfg=resize_cfg,
                    **upsample,
                )
            )
            for (fine, coarse), factor in zip(pairwise(widths), factors, strict=True)
        )
        self.refinements = ModuleList(
            MODELS.build(dict(channels=w, **layers, **refine)) for w in widths
        )

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The refined map of the finest level, (B, channels, H, W)."""
        levels = self._transform_inputs(inputs)
        levels = [levels] if isinstance(levels, Tensor) else levels
        maps = [lateral(level) for lateral, level in zip(self.laterals, levels, strict=True)]
        x = self.refinements[-1](maps[-1])
        for i in reversed(range(len(maps) - 1)):
            x = self.refinements[i](maps[i] + self.upsamples[i](x, maps[i]))
        return x

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        return self.cls_seg(self._forward_feature(inputs))
