"""FPN with decoupled dynamic filters in the top-down path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import ModuleList
from mmseg.models.necks.fpn import FPN
from mmseg.registry import MODELS
from torch import Tensor

from ...decoders.levels import split_ddf_cfg
from ...decoders.upsampling import GuidedUpsample, add_top_down


@MODELS.register_module()
class DDFFPN(FPN):
    """mmseg's FPN whose top-down path upsamples by joint DDF-Up, guided by the finer lateral.

    Everything else is as in the parent, with its keys.

    Args:
        ddf_cfg: as for `GuidedUpsample`, and `strides`: those of the levels that take part, finest
            first; default: each twice the one before.
        kwargs: as for FPN; upsample_cfg is that of the interpolation which the dynamic filters
            start from. Its scale_factor is not needed: a level gets the size of the next finer.

    Raises:
        ValueError: strides that do not fit the levels.
    """

    # For ddf_seg.swap, see `Replacement`
    replaces = ('FPN',)
    brings = 'joint DDF-Up in the top-down path'

    @staticmethod
    def wants_strides_of(cfg: dict[str, Any]) -> Sequence[int]:
        end = cfg.get('end_level', -1)
        return range(cfg.get('start_level', 0), len(cfg['in_channels']) if end == -1 else end)

    def __init__(self, *args: Any, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        factors, ddf_cfg = split_ddf_cfg(ddf_cfg, len(self.lateral_convs))
        resize_cfg = {key: v for key, v in self.upsample_cfg.items() if key != 'scale_factor'}
        self.upsamples = ModuleList(
            GuidedUpsample(self.out_channels, self.out_channels, factor, resize_cfg, ddf_cfg)
            for factor in factors
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The backbone's levels, finest first, to num_outs maps of out_channels."""
        levels = inputs[self.start_level : self.backbone_end_level]
        laterals = add_top_down(
            [conv(level) for conv, level in zip(self.lateral_convs, levels, strict=True)],
            self.upsamples,
        )
        # The parent's forward cannot be used: its upsampling stands in the middle of it.
        outs = [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=False)]
        extra_convs = self.fpn_convs[len(laterals) :]
        if not self.add_extra_convs:
            while len(outs) < self.num_outs:
                outs.append(F.max_pool2d(outs[-1], 1, stride=2))
            return tuple(outs)
        sources = dict(on_input=levels[-1], on_lateral=laterals[-1], on_output=outs[-1])
        x = sources[self.add_extra_convs]
        for i, conv in enumerate(extra_convs):
            x = conv(F.relu(x) if i and self.relu_before_extra_convs else x)
            outs.append(x)
        return tuple(outs)
