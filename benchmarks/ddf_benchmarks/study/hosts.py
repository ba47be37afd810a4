"""Heads that people have, with each row's upsampling in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.models.decode_heads.fpn_head import FPNHead
from mmseg.models.decode_heads.segformer_head import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..upsamplers import UPSAMPLERS, Upsampler

# EfficientNet-Lite0's levels of stride 4 to 32
CHANNELS = (24, 40, 112, 320)
WIDTH = 64
CLASSES = 11


class SteppedSegformerHead(SegformerHead):
    """mmseg's SegformerHead whose maps climb to the finest level by steps of an `Upsampler`."""

    def __init__(self, step: type[Upsampler], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = ModuleList(step(self.channels, self.channels) for _ in self.in_channels[1:])

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        levels = self._transform_inputs(inputs)
        maps = [conv(level) for conv, level in zip(self.convs, levels, strict=True)]
        raised = [maps[-1]]
        for guide, step in zip(reversed(maps[:-1]), reversed(self.steps), strict=True):
            raised = [guide, *step.shared(raised, guide)]
        return self.cls_seg(self.fusion_conv(torch.cat(raised, dim=1)))


class _Scale(BaseModule):
    """One level's way in an FPNHead; each of its upsamplings is to the next level."""

    def __init__(self, layers: nn.Sequential, step: type[Upsampler], guides: Sequence[int]) -> None:
        super().__init__()
        self.convs = ModuleList(layers[::2])
        self.guides = list(range(len(guides)))[::-1]
        self.steps = ModuleList(step(self.convs[0].out_channels, width) for width in guides[::-1])

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        x = levels[-1]
        if not self.steps:
            return self.convs[0](x)
        for conv, step, guide in zip(self.convs, self.steps, self.guides, strict=True):
            x = step(conv(x), levels[guide])
        return x


class SteppedFPNHead(FPNHead):
    """mmseg's FPNHead with an `Upsampler` in place of each interpolation by 2."""

    scale_heads: ModuleList

    def __init__(self, step: type[Upsampler], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale_heads = ModuleList(
            _Scale(layers, step, self.in_channels[:level])
            for level, layers in enumerate(self.scale_heads)
        )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        levels = self._transform_inputs(inputs)
        maps = [head(levels[: level + 1]) for level, head in enumerate(self.scale_heads)]
        return self.cls_seg(sum(maps[1:], start=maps[0]))


def _arguments(**more: Any) -> dict[str, Any]:
    return dict(
        in_channels=list(CHANNELS),
        # The backbone gives a level of stride 2, too.
        in_index=[1, 2, 3, 4],
        channels=WIDTH,
        num_classes=CLASSES,
        dropout_ratio=0.0,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss'),
        **more,
    )


RESIDUAL = dict(normalization='filter_norm', branches='spatial')
_HOSTS: dict[str, tuple[str, type[nn.Module], dict[str, Any]]] = {
    'segformer': ('SegformerHead', SteppedSegformerHead, {}),
    'fpn': ('FPNHead', SteppedFPNHead, dict(feature_strides=[4, 8, 16, 32])),
}


def _build(kind: str, **arguments: Any) -> nn.Module:
    built: nn.Module = MODELS.build(dict(type=kind, **arguments))
    return built


def rows(host: str) -> dict[str, Callable[[], nn.Module]]:
    """What builds each row's head in a host.

    Args:
        host: 'segformer' (SegformerHead) or 'fpn' (FPNHead), to stride 4 both.
    """
    name, stepped, own = _HOSTS[host]
    arguments = _arguments(**own)
    wide = {**arguments, 'channels': WIDER[host]}
    return {
        'bilinear': lambda: _build(name, **arguments),
        'bilinear-wide': lambda: _build(name, **wide),
        **{key: partial(stepped, step, **arguments) for key, step in UPSAMPLERS.items()},
        'ddf-residual': lambda: _build(f'DDF{name}', ddf_cfg=RESIDUAL, **arguments),
        'ddf-3x3': lambda: _build(
            f'DDF{name}', ddf_cfg=dict(kernel_size=3, context=False), **arguments
        ),
        'ddf-no-context': lambda: _build(f'DDF{name}', ddf_cfg=dict(context=False), **arguments),
        'ddf': lambda: _build(f'DDF{name}', **arguments),
    }


# Channels with which interpolation takes at least as long for an image as ddf with WIDTH
# (`study time`)
WIDER = {'segformer': 112, 'fpn': 112}
