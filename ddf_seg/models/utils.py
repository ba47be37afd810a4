"""What the heads and the neck share: refinement, upsampling, and the levels' strides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from mmcv.cnn import ConvModule, build_upsample_layer
from mmengine.model import BaseModule, ModuleList, Sequential
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers import DDFPack, DDFUpPack

# What a channel's upsampled response is multiplied by before training.
_FIRST_GAIN = 0.1


@MODELS.register_module()
class DDFRefinement(BaseModule):
    """Adds to a map the result of a DDF and a 1×1 convolution.

    The DDF filters each channel by the pixel's own filter, the 1×1 convolution mixes the channels:
    the dynamic counterpart of a depthwise separable convolution, with a residual.

    Args:
        channels: channels of input and output.
        norm_cfg, act_cfg: mmcv configs of normalisation and activation.
        ddf_cfg: further arguments of `DDFPack`.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict[str, Any] | None,
        act_cfg: dict[str, Any] | None,
        ddf_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.ddf = DDFPack(channels, **ddf_cfg)
        self.mix = ConvModule(
            channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.mix(self.ddf(x))


def projected_refinement(
    in_channels: int,
    channels: int,
    norm_cfg: dict[str, Any] | None,
    act_cfg: dict[str, Any] | None,
    ddf_cfg: dict[str, Any],
) -> Sequential:
    """Replaces a 3×3 convolution between different widths: a 1×1 convolution, then `DDFRefinement`.

    The projection comes first because the channel branch grows with the square of its width.
    """
    return Sequential(
        ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False),
        DDFRefinement(channels, norm_cfg, act_cfg, ddf_cfg),
    )


@MODELS.register_module()
class SeparableRefinement(BaseModule):
    """Adds to a map the result of a depthwise 3×3 and a 1×1 convolution.

    Args:
        channels: channels of input and output.
        norm_cfg, act_cfg: mmcv configs of normalisation and activation.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict[str, Any] | None,
        act_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = ConvModule(
            channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.mix(self.depthwise(x))


@MODELS.register_module()
class PlainUpsample(BaseModule):
    """Upsamples a map to the size of a finer one, without using the content of that one.

    Args:
        in_channels: channels of the coarser map.
        channels: channels of the output.
        scale_factor: how many times finer the output is, up to rounding at the border.
        resize_cfg: mode and align_corners of the interpolation.
        layer: config of an upsampling layer for mmcv's builder; default: interpolation.
        residual: add the layer's output to the interpolation, with a gain as in `GuidedUpsample`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        scale_factor: int,
        resize_cfg: dict[str, Any],
        layer: dict[str, Any] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.project = (
            nn.Conv2d(in_channels, channels, 1, bias=False) if in_channels != channels else None
        )
        self.layer = (
            build_upsample_layer(dict(channels=channels, scale_factor=scale_factor, **layer))
            if layer is not None
            else None
        )
        if residual:
            self.gain = nn.Parameter(torch.full((channels, 1, 1), _FIRST_GAIN))
        self.residual = residual
        self.resize_cfg = resize_cfg

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(B, in_channels, H, W) and (B, any, H', W') to (B, channels, H', W')."""
        height, width = guide.shape[2:]
        if self.project is not None:
            x = self.project(x)
        if self.layer is None:
            return resize(x, size=(height, width), **self.resize_cfg)
        # A level's size is rounded up, so the layer's output may be a row and a column larger.
        out = self.layer(x)[:, :, :height, :width]
        if self.residual:
            out = resize(x, size=(height, width), **self.resize_cfg) + self.gain * out
        return out


@MODELS.register_module()
class GuidedUpsample(BaseModule):
    """Interpolates a map to the guide's size and adds the result of joint DDF-Up.

    The filters come from the guide, so edges and thin things are drawn where the finer level sees
    them. The result of the filters has a small weight at first, because FilterNorm gives even
    random filters their full deviation; so training starts near a plain decoder. Between levels of
    the same stride there is nothing to upsample, and the map passes unchanged.

    Args:
        in_channels: channels of the coarser map.
        channels: channels of the output.
        scale_factor: how many times finer the guide is, up to rounding at the border; at least 1.
        resize_cfg: mode and align_corners of the interpolation.
        ddf_cfg: further arguments of `DDFUpPack`.
        guide_channels: channels of the guide; default: `channels`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        scale_factor: int,
        resize_cfg: dict[str, Any],
        ddf_cfg: dict[str, Any],
        guide_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.project = (
            nn.Conv2d(in_channels, channels, 1, bias=False) if in_channels != channels else None
        )
        self.ddf_up = (
            DDFUpPack(
                channels,
                scale_factor=scale_factor,
                joint_channels=guide_channels or channels,
                **ddf_cfg,
            )
            if scale_factor > 1
            else None
        )
        if self.ddf_up is not None:
            self.gain = nn.Parameter(torch.full((channels, 1, 1), _FIRST_GAIN))
        self.scale_factor = scale_factor
        self.resize_cfg = resize_cfg

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """(B, in_channels, H, W) and (B, guide_channels, H', W') to (B, channels, H', W').

        Raises:
            ValueError: the guide is not scale_factor times as large as x.
        """
        low, high, r = tuple(x.shape[2:]), tuple(guide.shape[2:]), self.scale_factor
        if any(abs(fine - r * coarse) >= r for coarse, fine in zip(low, high, strict=True)):
            raise ValueError(
                f'strides: expected the finer of two levels to have {r} times the size of the '
                f'coarser, {low} (± {r - 1}), got {high}; give the strides of the levels, finest '
                'first, in ddf_cfg=dict(strides=[…]) (DDFHead: strides, DDFFPNHead: '
                'feature_strides)'
            )
        if self.project is not None:
            x = self.project(x)
        if self.ddf_up is None:
            return x
        return resize(x, size=high, **self.resize_cfg) + self.gain * self.ddf_up(x, guide)


class GuidedFusion(BaseModule):
    """Brings the maps of all levels to the finest and concatenates them there.

    A map climbs from level to level, each of which guides its step; all maps that take the same
    step share its filters. One step over several levels would need a channel branch for each of
    its many phases.

    Args:
        channels: channels of every map.
        factors: scale factors between neighbouring levels, finest first.
        resize_cfg, ddf_cfg: as for `GuidedUpsample`.
    """

    def __init__(
        self,
        channels: int,
        factors: Sequence[int],
        resize_cfg: dict[str, Any],
        ddf_cfg: dict[str, Any],
    ) -> None:
        super().__init__()
        self.upsamples = ModuleList(
            GuidedUpsample(channels, channels, factor, resize_cfg, ddf_cfg) for factor in factors
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, channels, H, W), finest first, to (B, levels · channels, H, W) of the finest."""
        raised = [maps[-1]]
        for guide, upsample in zip(reversed(maps[:-1]), reversed(self.upsamples), strict=True):
            raised = [guide, *(upsample(x, guide) for x in raised)]
        return torch.cat(raised, dim=1)


def scale_factors(strides: Sequence[int] | None, levels: int) -> list[int]:
    """The factors between neighbouring levels.

    Args:
        strides: the levels' strides, finest first; default: each twice the one before.
        levels: how many there are.

    Raises:
        ValueError: another number of strides, or one that is no multiple of the one before.
    """
    strides = [2**level for level in range(levels)] if strides is None else list(strides)
    if len(strides) != levels:
        raise ValueError(f'strides: expected {levels} values, got {strides}')
    if any(coarse % fine for fine, coarse in pairwise(strides)):
        raise ValueError(f'strides: expected each a multiple of the one before, got {strides}')
    return [coarse // fine for fine, coarse in pairwise(strides)]


def split_ddf_cfg(ddf_cfg: dict[str, Any] | None, levels: int) -> tuple[list[int], dict[str, Any]]:
    """Takes `strides` out of a ddf_cfg: the factors between the levels, and the layers' arguments.

    Raises:
        ValueError: see `scale_factors`.
    """
    layers = dict(ddf_cfg or {})
    return scale_factors(layers.pop('strides', None), levels), layers


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
