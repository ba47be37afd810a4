"""Blocks that refine a map at its own size, each with a residual."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..layers import DDFPack, GatedDDF, GatedDDFConv2d
from .blocks import Block, BlockSequence, Project


class DDFRefinement(Block):
    """Adds to a map what a DDF and a 1×1 convolution make of it.

    The DDF filters each channel by the pixel's own filter, the 1×1 convolution mixes the channels:
    the dynamic counterpart of a depthwise separable convolution, with a residual.

    Args:
        channels: channels of input and output.
        project: makes the 1×1 convolution, with normalisation and activation.
        ddf_cfg: further arguments of `DDFPack`.
    """

    def __init__(self, channels: int, project: Project, ddf_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.ddf = DDFPack(channels, **ddf_cfg)
        self.mix = project(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.mix(self.ddf(x))


def projected_refinement(
    in_channels: int, channels: int, project: Project, ddf_cfg: dict[str, Any]
) -> BlockSequence:
    """What stands for a 3×3 convolution between widths: a 1×1 convolution, then `DDFRefinement`.

    The projection comes first because the channel branch grows with the square of its width.
    """
    return BlockSequence(project(in_channels, channels), DDFRefinement(channels, project, ddf_cfg))


class SeparableRefinement(Block):
    """Adds to a map what a depthwise 3×3 and a 1×1 convolution make of it.

    Args:
        channels: channels of input and output.
        project: makes the 1×1 convolution, with normalisation and activation.
    """

    def __init__(self, channels: int, project: Project) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = project(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return x + self.mix(self.depthwise(x))


class GatedRefinement(SeparableRefinement):
    """`SeparableRefinement` whose depthwise convolution has gated dynamic filters beside it.

    They count nothing at first, so that it starts as the static one, whose keys it has.
    """

    def __init__(self, channels: int, project: Project) -> None:
        super().__init__(channels, project)
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
