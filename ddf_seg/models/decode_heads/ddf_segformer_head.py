"""SegformerHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from mmseg.models.decode_heads.segformer_head import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor

from ..utils import GuidedFusion, split_ddf_cfg


@MODELS.register_module()
class DDFSegformerHead(SegformerHead):
    """mmseg's SegformerHead whose fusion brings the levels to the finest by joint DDF-Up.

    Everything else is as in the parent, with its keys.

    Args:
        ddf_cfg: further arguments of `DDFUpPack` (kernel_size, head, se_ratio, kernel_combine, …),
            and `strides`: those of the levels, finest first; default: each twice the one before.
        kwargs: as for SegformerHead; interpolate_mode is that of the interpolation which the
            dynamic filters add to.

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
        self.fusion = GuidedFusion(self.channels, factors, resize_cfg, ddf_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        levels = self._transform_inputs(inputs)
        maps = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        return self.cls_seg(self.fusion_conv(self.fusion(maps)))
