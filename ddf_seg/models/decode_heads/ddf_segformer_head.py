"""SegformerHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from mmseg.models.decode_heads.segformer_head import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor

from ...decoders.levels import split_ddf_cfg
from ...decoders.upsampling import build_fusion


@MODELS.register_module()
class DDFSegformerHead(SegformerHead):
    """mmseg's SegformerHead whose fusion brings the levels to the finest by joint DDF-Up.

    All else is the parent's, with its keys: with the parent's weights it computes, at first, what
    the parent does.

    Args:
        ddf_cfg: as for `GuidedUpsample`, and `strides`: those of the levels, finest first;
            default: each twice the one before.
        kwargs: as for SegformerHead; interpolate_mode is that of the interpolation which the
            dynamic filters start from.

    Raises:
        ValueError: strides that do not fit the levels.
    """

    # For ddf_seg.swap, see `Replacement`
    replaces = ('SegformerHead',)
    brings = ''
    wants_strides_of = staticmethod(itemgetter('in_index'))

    def __init__(self, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        factors, ddf_cfg = split_ddf_cfg(ddf_cfg, len(self.in_channels))
        resize_cfg = dict(mode=self.interpolate_mode, align_corners=self.align_corners)
        self.fusion = build_fusion(self.channels, factors, resize_cfg, ddf_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        levels = self._transform_inputs(inputs)
        maps = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        fuse: Any = self.fusion_conv
        fused = self.fusion.convolved(maps, fuse.conv)
        return self.cls_seg(fuse.activate(fuse.norm(fused) if fuse.with_norm else fused))
