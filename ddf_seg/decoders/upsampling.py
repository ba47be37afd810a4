"""Blocks that bring a map to the size of a finer one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers import DDFUpPack
from .blocks import Block, BlockList
from .levels import layer_arguments, starts_as_interpolation

# What a channel's upsampled response is multiplied by before training.
FIRST_GAIN = 0.1
# Filters that start as interpolation: the spatial ones alone, wide enough to reach past the nearest
# pixels (docs/study.md).
INTERPOLATION = dict(branches='spatial', kernel_size=5, affinity_channels=16)
# Steps whose filters see neighbours, too: a branch of the coarse map for each of the r² phases is
# measured in these alone, and large in others.
CONTEXT_FACTOR = 2


class GuidedUpsample(Block):
    """Upsamples a map by joint DDF-Up to the size of a finer one, which guides it.

    The filters come from the guide and from its affinity with the map, by steps of 2 from 3×3
    pixels of both, so edges and thin things are drawn where the finer level sees them. They start
    as interpolation (`ddf_seg.layers.InterpolationSoftmax`), so a network trained with
    interpolation keeps what it computes when this takes its place. Between levels of one stride
    there is nothing to upsample, and the map passes as it is.

    With another normalization in `ddf_cfg` ('filter_norm', …) the filters are the paper's, their
    response is added to the interpolation, and training starts near a plain decoder: each channel
    has a gain that starts at 0.1, since FilterNorm gives even random filters their full deviation.

    Args:
        in_channels: channels of the coarser map.
        channels: channels of the output.
        scale_factor: how many times finer the guide is, up to rounding at the border; at least 1.
        resize_cfg: mode and align_corners of the interpolation.
        ddf_cfg: further arguments of `DDFUpPack`; normalization is 'interpolation' if not given,
            and with it kernel_size 5, affinity_channels 16 and, for scale_factor 2, context True.
            With context False the filters take less time and see less.
        guide_channels: channels of the guide; default: `channels`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        scale_factor: int,
        resize_cfg: dict[str, Any],
        ddf_cfg: dict[str, Any] | None = None,
        guide_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.project = (
            nn.Conv2d(in_channels, channels, 1, bias=False) if in_channels != channels else None
        )
        layers = layer_arguments(ddf_cfg)
        self.ddf_up: DDFUpPack | None = None
        self.gain: nn.Parameter | None = None
        if scale_factor > 1:
            if starts_as_interpolation(layers):
                sees = dict(context=scale_factor == CONTEXT_FACTOR)
                layers = {**INTERPOLATION, **sees, 'interpolation': resize_cfg, **layers}
            else:
                self.gain = nn.Parameter(torch.full((channels, 1, 1), FIRST_GAIN))
            guide = guide_channels or channels
            self.ddf_up = DDFUpPack(
                channels, scale_factor=scale_factor, joint_channels=guide, **layers
            )
        self.scale_factor = scale_factor
        self.resize_cfg = resize_cfg

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(B, in_channels, H, W) and (B, guide_channels, H', W') to (B, channels, H', W').

        Raises:
            ValueError: the guide is not scale_factor times as large as x.
        """
        self._check_sizes(x, guide)
        if self.project is not None:
            x = self.project(x)
        if self.ddf_up is None:
            return x
        out = self.ddf_up(x, guide)
        if self.gain is None:
            return out
        return F.interpolate(x, size=guide.shape[2:], **self.resize_cfg) + self.gain * out

    def shared(
        self,
        maps: Sequence[Tensor],
        sources: Sequence[tuple[int, int]],
        guide: Tensor,
        features: Tensor | None = None,
        summed: bool = False,
    ) -> list[Tensor]:
        """Upsamples several maps by filters that the guide and one coarse map make.

        Args:
            maps: (B, C, H, W) each.
            sources: the size that each was interpolated from; these filters continue that.
            guide: (B, guide_channels, H', W').
            features: the coarse map, (B, channels, H, W); default: the first of the maps.
            summed: whether the maps may be added up where they are upsampled.

        Returns:
            (B, C, H', W') each, or one for all.
        """
        self._check_sizes(maps[0], guide)
        if self.ddf_up is None:
            return list(maps)
        return self.ddf_up.upsample_alike(maps, sources, guide, features, summed)

    @property
    def shares_filters(self) -> bool:
        """Whether all channels share a filter, so that a 1×1 convolution commutes with it."""
        return self.ddf_up is None or (self.gain is None and self.ddf_up.head == 1)

    def then_pointwise(
        self, x: Tensor, guide: Tensor, pointwise: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """What a pointwise layer makes of the upsampled map, computed before it where it can be.

        Args:
            x, guide: as for `forward`.
            pointwise: a 1×1 convolution, or dropout of whole channels, or both.

        Returns:
            (B, channels of the pointwise layer, H', W').
        """
        if self.ddf_up is None or not self.shares_filters:
            return pointwise(self(x, guide))
        if self.project is not None:
            x = self.project(x)
        # A bias, too: the filters sum to 1.
        return self.shared([pointwise(x)], [(x.shape[2], x.shape[3])], guide, x)[0]

    def _check_sizes(self, x: Tensor, guide: Tensor) -> None:
        low, high, r = tuple(x.shape[2:]), tuple(guide.shape[2:]), self.scale_factor
        if any(abs(fine - r * coarse) >= r for coarse, fine in zip(low, high, strict=True)):
            raise ValueError(
                f'strides: expected the finer of two levels to have {r} times the size of the '
                f'coarser, {low} (± {r - 1}), got {high}; give the strides of the levels, finest '
                'first, in ddf_cfg=dict(strides=[…]) (DDFHead, DDFDecoder: strides, DDFFPNHead: '
                'feature_strides)'
            )


def is_plain(conv: nn.Module) -> bool:
    """Whether a convolution is what its weights say, with no wrapper or hook to be passed by."""
    hooks = [*conv._forward_pre_hooks.values(), *conv._forward_hooks.values()]
    return type(conv) is nn.Conv2d and all(map(_only_counts, hooks))


def _only_counts(hook: Callable[..., Any]) -> bool:
    """Whether a hook is one by which mmengine's counter of multiply-adds knows each module.

    Every module has them while it counts; what it counts should be what runs without.
    """
    # None for methods of built-in types
    return (getattr(hook, '__module__', None) or '').startswith('mmengine.analysis')


def build_fusion(
    channels: int, factors: Sequence[int], resize_cfg: dict[str, Any], ddf_cfg: dict[str, Any]
) -> Fusion:
    """What brings the maps of all levels to the finest and concatenates them there.

    Args:
        channels: channels of every map.
        factors: scale factors between neighbouring levels, finest first.
        resize_cfg, ddf_cfg: as for `GuidedUpsample`.

    Returns:
        A module: maps (B, channels, H, W), finest first, to (B, levels · channels, H, W) of the
        finest.
    """
    fusion = GuidedFusion if starts_as_interpolation(ddf_cfg) else ResidualFusion
    return fusion(channels, factors, resize_cfg, ddf_cfg)


class Fusion(Block):
    """What `build_fusion` builds: a `GuidedUpsample` from each level to the next finer one.

    Args:
        channels, factors, resize_cfg, ddf_cfg: as for `build_fusion`.
    """

    upsamples: Any

    def __init__(
        self,
        channels: int,
        factors: Sequence[int],
        resize_cfg: dict[str, Any],
        ddf_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.upsamples = BlockList(
            GuidedUpsample(channels, channels, factor, resize_cfg, ddf_cfg) for factor in factors
        )

    def convolved(self, maps: Sequence[Tensor], conv: nn.Conv2d) -> Tensor:
        """What a 1×1 convolution makes of the concatenated maps.

        Args:
            maps: (B, channels, H, W), finest first.
            conv: from levels · channels; without groups.

        Returns:
            (B, conv.out_channels, H, W) of the finest.
        """
        fused: Tensor = conv(self(maps))
        return fused


class GuidedFusion(Fusion):
    """Maps climb from level to level by filters that start as interpolation in one step.

    Each level guides the step to it, compared with the next coarser level's own map, and all maps
    that take a step share what is learned of its filters. What they start from differs: each
    continues the interpolation of its map (`InterpolationSoftmax.start`).
    """

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, channels, H, W), finest first, to (B, levels · channels, H, W) of the finest."""
        return torch.cat(self._climb(maps, maps), dim=1)

    def convolved(self, maps: Sequence[Tensor], conv: nn.Conv2d) -> Tensor:
        shared = all(upsample.shares_filters for upsample in self.upsamples)
        if not (shared and is_plain(conv)):
            return super().convolved(maps, conv)
        # Each level is convolved at its own size, and none of the finest size has the channels of
        # all levels.
        weights = conv.weight.split(maps[0].shape[1], dim=1)
        biases = [conv.bias, *(None for _ in maps[1:])]
        parts = [F.conv2d(*of_level) for of_level in zip(maps, weights, biases, strict=True)]
        first, *others = self._climb(maps, parts, summed=True)
        return sum(others, start=first)

    def _climb(
        self, maps: Sequence[Tensor], parts: Sequence[Tensor], summed: bool = False
    ) -> list[Tensor]:
        """Brings what was made of each map to the finest, by the filters that the maps make.

        Args:
            maps: finest first.
            parts: what was made of each.
            summed: whether their sum will do, from the last step on.
        """
        raised, sources = [parts[-1]], [parts[-1].shape[2:]]
        for step in reversed(range(len(self.upsamples))):
            features, guide, upsample = maps[step + 1], maps[step], self.upsamples[step]
            last = summed and step == 0
            raised = [parts[step], *upsample.shared(raised, sources, guide, features, last)]
            sources = [guide.shape[2:], *sources]
        return raised


class ResidualFusion(Fusion):
    """Maps climb from level to level by the paper's filters, added to interpolation.

    All maps that take a step share its filters. One step over several levels would need a channel
    branch for each of its many phases.
    """

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, channels, H, W), finest first, to (B, levels · channels, H, W) of the finest."""
        raised = [maps[-1]]
        for guide, upsample in zip(reversed(maps[:-1]), reversed(self.upsamples), strict=True):
            raised = [guide, *(upsample(x, guide) for x in raised)]
        return torch.cat(raised, dim=1)


def add_top_down(maps: Sequence[Tensor], upsamples: Sequence[nn.Module]) -> list[Tensor]:
    """Adds to every map but the coarsest the next coarser sum, upsampled under its guidance.

    Args:
        maps: maps of one width, finest first.
        upsamples: `GuidedUpsample` to each map but the coarsest, finest first.
    """
    sums = [maps[-1]]
    for x, upsample in zip(reversed(maps[:-1]), reversed(upsamples), strict=True):
        sums.insert(0, x + upsample(sums[0], x))
    return sums
