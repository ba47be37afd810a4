"""Heads that people have, with each row's upsampling in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleList
from mmseg.models.decode_heads.fpn_head import FPNHead
from mmseg.models.decode_heads.segformer_head import SegformerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ddf_seg.decoders.top_down import TopDownDecoder
from ddf_seg.models.blocks import SeparableRefinement
from ddf_seg.models.decode_heads.top_down_head import LevelsHead

from ..upsamplers import UPSAMPLERS, Upsampler

# EfficientNet-Lite0's levels of stride 2 to 32
CHANNELS = (16, 24, 40, 112, 320)
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


class _Projected(BaseModule):
    """An `Upsampler` after a 1×1 convolution, where the finer level has another width."""

    def __init__(self, step: type[Upsampler], coarse: int, fine: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(coarse, fine, 1, bias=False) if coarse != fine else None
        self.step = step(fine, fine)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        out: Tensor = self.step(x if self.project is None else self.project(x), guide)
        return out


class SteppedTopDownHead(LevelsHead):
    """`TopDownHead` with an `Upsampler` in place of each interpolation by 2."""

    def __init__(self, step: type[Upsampler], *, widths: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.take_over(
            TopDownDecoder(
                self.level_channels,
                self.channels,
                upsample=lambda coarse, fine, _: _Projected(step, coarse, fine),
                refine=lambda width: SeparableRefinement(width, self.project),
                project=self.project,
                widths=widths,
            )
        )


class SteppedGuidedHead(SegformerHead):
    """mmseg's SegformerHead whose fused map climbs by steps of an `Upsampler`, then is classified.

    The guides are levels of the backbone, finest first.
    """

    def __init__(
        self,
        step: type[Upsampler],
        *,
        guide_index: Sequence[int],
        guide_channels: Sequence[int],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.guide_index = guide_index
        self.steps = ModuleList(step(self.channels, channels) for channels in guide_channels)
        self._guides: Sequence[Tensor] = ()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        self._guides = [inputs[i] for i in self.guide_index]
        return super().forward(inputs)

    def cls_seg(self, feat: Tensor) -> Tensor:
        for guide, step in zip(reversed(self._guides), reversed(self.steps), strict=True):
            feat = step(feat, guide)
        return super().cls_seg(feat)


RESIDUAL = dict(normalization='filter_norm', branches='spatial')
_COMMON = dict(
    num_classes=CLASSES,
    dropout_ratio=0.0,
    norm_cfg=dict(type='BN'),
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss'),
)
# mmseg's heads decode to stride 4.
_TO_4 = dict(_COMMON, in_channels=list(CHANNELS[1:]), in_index=[1, 2, 3, 4], channels=WIDTH)
_TO_8 = dict(_COMMON, in_channels=list(CHANNELS[2:]), in_index=[2, 3, 4])
_TO_2 = dict(_COMMON, in_channels=list(CHANNELS), in_index=[0, 1, 2, 3, 4])


def _widths(width: int) -> dict[str, Any]:
    """Of the shipped network's decoder, in proportion to WIDTH."""
    return dict(channels=width // 2, widths=[width // 2, *[width] * 4])


@dataclass(frozen=True)
class _Host:
    """A head with interpolation, and its forms.

    Attributes:
        plain: type of the head with interpolation.
        stepped: its form with an `Upsampler`.
        ours: type of its form with dynamic filters.
        wide: channels with which interpolation takes at least as long for an image as the row ddf
            with WIDTH (`study time`).
        arguments: what all three are built with, by the number of channels.
        blocks: what `plain` is built with besides.
        guides: what the others are built with besides.
    """

    plain: str
    stepped: type[nn.Module]
    ours: str
    wide: int
    arguments: Callable[[int], dict[str, Any]]
    blocks: dict[str, Any] = field(default_factory=dict)
    guides: dict[str, Any] = field(default_factory=dict)


_HOSTS = {
    'segformer': _Host(
        'SegformerHead',
        SteppedSegformerHead,
        'DDFSegformerHead',
        112,
        lambda width: {**_TO_4, 'channels': width},
    ),
    'fpn': _Host(
        'FPNHead',
        SteppedFPNHead,
        'DDFFPNHead',
        112,
        lambda width: {**_TO_4, 'channels': width, 'feature_strides': [4, 8, 16, 32]},
    ),
    'stride-8': _Host(
        'SegformerHead',
        SteppedGuidedHead,
        'DDFGuidedHead',
        384,
        lambda width: {**_TO_8, 'channels': width},
        guides=dict(guide_index=[0, 1], guide_channels=list(CHANNELS[:2])),
    ),
    'top-down': _Host(
        'TopDownHead',
        SteppedTopDownHead,
        'DDFHead',
        144,
        lambda width: {**_TO_2, **_widths(width)},
        dict(upsample=dict(type='PlainUpsample'), refine=dict(type='SeparableRefinement')),
    ),
}


def _build(kind: str, **arguments: Any) -> nn.Module:
    built: nn.Module = MODELS.build(dict(type=kind, **arguments))
    return built


def rows(name: str) -> dict[str, Callable[[], nn.Module]]:
    """What builds each row's head in a host.

    Args:
        name: 'segformer' (SegformerHead) or 'fpn' (FPNHead), to stride 4; 'stride-8', a
            SegformerHead to stride 8, its map brought to stride 2; 'top-down', the shipped
            network's decoder, to stride 2.
    """
    host = _HOSTS[name]
    arguments = host.arguments(WIDTH)
    plain = {**arguments, **host.blocks}
    guided = {**arguments, **host.guides}

    def ours(**ddf_cfg: Any) -> Callable[[], nn.Module]:
        # DDFGuidedHead has to be told of which head.
        head = dict(head=host.plain) if host.guides else {}
        return partial(_build, host.ours, ddf_cfg=ddf_cfg, **guided, **head)

    return {
        'bilinear': partial(_build, host.plain, **plain),
        'bilinear-wide': partial(_build, host.plain, **{**plain, **host.arguments(host.wide)}),
        **{key: partial(host.stepped, step, **guided) for key, step in UPSAMPLERS.items()},
        'ddf-residual': ours(**RESIDUAL),
        'ddf-3x3': ours(kernel_size=3, context=False),
        'ddf-no-context': ours(context=False),
        'ddf': ours(context=True),
    }
