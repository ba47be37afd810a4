"""FPNHead with decoupled dynamic filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule, ModuleList, Sequential
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fpn_head import FPNHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...decoders.levels import layer_arguments, scale_factors, starts_as_interpolation
from ...decoders.refinement import projected_refinement
from ...decoders.upsampling import GuidedUpsample, is_plain
from ...ops.torch_internals import is_known
from ..blocks import gate_convolutions, mmcv_projection


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _doubled(guide: Tensor, x: Tensor) -> Tensor:
    """The guide at twice the size of x: the parent doubles sizes, also where a level's is odd."""
    below, right = (2 * n - m for n, m in zip(x.shape[2:], guide.shape[2:], strict=True))
    if is_known(below <= 0) and is_known(right <= 0):
        return guide
    return F.pad(guide, (0, max(right, 0), 0, max(below, 0)), mode='replicate')


class _GuidedScale(Sequential):
    """The parent's convolutions and upsamplings of one level, guided where there is a level.

    Args:
        layers: the parent's: in turns a ConvModule and an upsampling by 2.
        guides: for each of its upsamplings, the index of the level that it leads to, if any.
        in_channels: channels of all levels.
        channels: channels after the first convolution.
        resize_cfg, ddf_cfg: as for `GuidedUpsample`.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        guides: Sequence[int | None],
        in_channels: Sequence[int],
        channels: int,
        resize_cfg: dict[str, Any],
        ddf_cfg: dict[str, Any],
    ) -> None:
        layers = list(layers)
        self.guides = dict(zip(range(1, len(layers), 2), guides, strict=True))
        for place, guide in self.guides.items():
            if guide is not None:
                layers[place] = GuidedUpsample(
                    channels, channels, 2, resize_cfg, ddf_cfg, in_channels[guide]
                )
        super().__init__(*layers)
        gate_convolutions(self)

    def forward(
        self, levels: Sequence[Tensor], pointwise: Callable[[Tensor], Tensor] = _as_it_is
    ) -> Tensor:
        """What a pointwise layer makes of this level's map at the finest size.

        Args:
            levels: the levels up to this one, finest first.
            pointwise: as for `GuidedUpsample.then_pointwise`.

        Returns:
            (B, channels of the pointwise layer, H, W) of the finest.
        """
        x = levels[-1]
        for place, layer in enumerate(self):
            index = self.guides.get(place)
            if index is None:
                x = layer(x)
                continue
            guide = _doubled(levels[index], x)
            if place == len(self) - 1:
                return layer.then_pointwise(x, guide, pointwise)
            x = layer(x, guide)
        return pointwise(x)


class _Ascent(BaseModule):
    """One level's way to the finest by the paper's filters: refinement, guided upsampling, …

    Args:
        in_channels: channels of the levels up to this one, finest first.
        channels: channels on the way and at its end.
        factors: scale factors between these levels.
        resize_cfg: mode and align_corners of the interpolation.
        layers: project and ddf_cfg, as for `projected_refinement`.
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
    """mmseg's FPNHead whose levels climb to the finest by joint DDF-Up.

    Every step by 2 is guided by the level it leads to, and the 3×3 convolutions between them have
    gated filters beside them. All else is the parent's, with its keys: with the parent's weights it
    computes, at first, what the parent does. The strides of the levels are `feature_strides`.

    With another normalization than 'interpolation' in ddf_cfg, the paper's filters: each level is
    refined by DDF before each step, in place of the 3×3 convolutions.

    Args:
        ddf_cfg: as for `GuidedUpsample` (with another normalization: for `DDFPack`, too).
        kwargs: as for FPNHead.

    Raises:
        ValueError: a feature stride that is no multiple of the one before.
    """

    scale_heads: Any
    # For ddf_seg.swap, see `Replacement`
    replaces = ('FPNHead',)
    brings = 'DDF in its 3×3 convolutions and joint DDF-Up between its feature_strides'
    wants_strides_of = staticmethod(lambda cfg: ())  # feature_strides says them

    def __init__(self, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        factors = scale_factors(self.feature_strides, len(self.in_channels))
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        ddf_cfg = layer_arguments(ddf_cfg)
        if starts_as_interpolation(ddf_cfg):
            self.scale_heads = ModuleList(
                _GuidedScale(
                    head,
                    [self._level_of(2**step) for step in reversed(range(len(head) // 2))],
                    self.in_channels,
                    self.channels,
                    resize_cfg,
                    ddf_cfg,
                )
                for head in self.scale_heads
            )
            return
        layers = dict(project=mmcv_projection(self.norm_cfg, self.act_cfg), ddf_cfg=ddf_cfg)
        self.scale_heads = ModuleList(
            _Ascent(
                self.in_channels[: level + 1], self.channels, factors[:level], resize_cfg, layers
            )
            for level in range(len(self.in_channels))
        )

    def _level_of(self, factor: int) -> int | None:
        """The first level that is this many times as coarse as the finest."""
        relative = [stride / self.feature_strides[0] for stride in self.feature_strides]
        return relative.index(factor) if factor in relative else None

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        levels = self._transform_inputs(inputs)
        if not self._classifies_first:
            maps = [head(levels[: level + 1]) for level, head in enumerate(self.scale_heads)]
            return self.cls_seg(self._sum(maps))
        kept: Tensor | None = None
        if self.dropout is not None and self.dropout.training:
            # The channels that the sum of all levels keeps
            kept = self.dropout(levels[0].new_ones(levels[0].shape[0], self.channels, 1, 1))

        def classified(level: int) -> Tensor:
            def pointwise(x: Tensor) -> Tensor:
                x = x if kept is None else x * kept.to(x.dtype)
                return F.conv2d(x, self.conv_seg.weight, None if level else self.conv_seg.bias)

            scores: Tensor = self.scale_heads[level](levels[: level + 1], pointwise)
            return scores

        return self._sum([classified(level) for level in range(len(levels))])

    @property
    def _classifies_first(self) -> bool:
        """Whether each level is classified before its last upsampling, which has fewer channels."""
        replaceable = type(self).cls_seg is BaseDecodeHead.cls_seg and is_plain(self.conv_seg)
        guided = isinstance(self.scale_heads[-1], _GuidedScale)
        upsamples = (x for x in self.scale_heads.modules() if isinstance(x, GuidedUpsample))
        shared = all(upsample.shares_filters for upsample in upsamples)
        return replaceable and guided and shared and self.out_channels < self.channels

    def _sum(self, maps: Sequence[Tensor]) -> Tensor:
        total = maps[0]
        for x in maps[1:]:
            size = total.shape[2:]
            # Doubled odd sizes have ended larger.
            if not all(is_known(n == m) for n, m in zip(x.shape[2:], size, strict=True)):
                x = resize(x, size=size, mode='bilinear', align_corners=self.align_corners)
            total = total + x
        return total
