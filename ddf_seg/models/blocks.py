"""The decoders' blocks as configs of mmseg name them, with mmcv's normalisations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from mmcv.cnn import ConvModule, build_upsample_layer
from mmengine.model import BaseModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..decoders.blocks import Project
from ..decoders.refinement import DDFRefinement, GatedRefinement, SeparableRefinement
from ..decoders.upsampling import FIRST_GAIN, GuidedUpsample
from ..layers import GatedDDFConv2d


def mmcv_projection(norm_cfg: dict[str, Any] | None, act_cfg: dict[str, Any] | None) -> Project:
    """Makes 1×1 convolutions with mmcv's normalisation and activation.

    Args:
        norm_cfg, act_cfg: mmcv configs of both; None: none.
    """
    made: Project = partial(
        ConvModule, kernel_size=1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False
    )
    return made


def _by_configs(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A refinement as `TopDownHead` builds one."""

    def build(
        channels: int,
        norm_cfg: dict[str, Any] | None,
        act_cfg: dict[str, Any] | None,
        **kwargs: Any,
    ) -> nn.Module:
        return kind(channels, mmcv_projection(norm_cfg, act_cfg), **kwargs)

    return build


MODELS.register_module(module=GuidedUpsample)
for _kind in (DDFRefinement, GatedRefinement, SeparableRefinement):
    MODELS.register_module(name=_kind.__name__, module=_by_configs(_kind))


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
            self.gain = nn.Parameter(torch.full((channels, 1, 1), FIRST_GAIN))
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


def gate_convolutions(module: nn.Module) -> None:
    """Puts gated filters beside a block's 3×3 convolutions from one width to the same.

    The convolutions keep their weights and keys; others stay as they are.

    Args:
        module: anything with mmcv's ConvModules in it.
    """
    for block in module.modules():
        conv: Any = getattr(block, 'conv', None)
        if isinstance(block, ConvModule) and _takes_gate(conv):
            gated = GatedDDFConv2d(
                conv.in_channels, conv.kernel_size[0], conv.groups, conv.bias is not None
            )
            gated.weight, gated.bias = conv.weight, conv.bias
            block.conv = gated


def _takes_gate(conv: nn.Module | None) -> bool:
    return (
        type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.stride == conv.dilation == (1, 1)
        and conv.padding == (1, 1)
        and conv.in_channels == conv.out_channels
        and conv.groups in (1, conv.in_channels)
    )
