"""Blocks that refine a map at its own size, each with a residual."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, Sequential
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...layers import DDFPack, GatedDDF, GatedDDFConv2d


@MODELS.register_module()
class DDFRefinement(BaseModule):
    """Adds to a map what a DDF and a 1×1 convolution make of it.

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
    """What stands for a 3×3 convolution between widths: a 1×1 convolution, then `DDFRefinement`.

    The projection comes first because the channel branch grows with the square of its width.
    """
    return Sequential(
        ConvModule(in_channels, channels, 1, norm_cfg=norm_cfg, act_cfg=act_cfg, inplace=False),
        DDFRefinement(channels, norm_cfg, act_cfg, ddf_cfg),
    )


@MODELS.register_module()
class SeparableRefinement(BaseModule):
    """Adds to a map what a depthwise 3×3 and a 1×1 convolution make of it.

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
class GatedRefinement(SeparableRefinement):
    """`SeparableRefinement` whose depthwise convolution has gated dynamic filters beside it.

    They count nothing at first, so that it starts as the static one, whose keys it has.
    """

    def __init__(
        self,
        channels: int,
        norm_cfg: dict[str, Any] | None,
        act_cfg: dict[str, Any] | None,
    ) -> None:
        super().__init__(channels, norm_cfg, act_cfg)
        self.depthwise = GatedDDFConv2d(channels, groups=channels)


class GatedAddition(GatedDDF):
    """Adds to a map what gated filters of each pixel's own make of it: nothing at first.

    Args:
        channels: channels of the map.
        ddf_cfg: normalization 'interpolation', and further arguments of `GatedDDF`.
    """

    def __init__(self, channels: int, ddf_cfg: dict[str, Any]) -> None:
        super().__init__(channels, **{k: v for k, v in ddf_cfg.items() if k != 'normalization'})

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + super().forward(x)


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
