"""Top-down decoders: from the coarsest level to the finest, each step guided or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from .blocks import Block, BlockList, Project, Projection
from .levels import layer_arguments, scale_factors, starts_as_interpolation
from .refinement import DDFRefinement, GatedRefinement
from .upsampling import GuidedUpsample

# Of channels in, channels out, and the factor between the levels
Upsample = Callable[[int, int, int], nn.Module]


def climb(
    levels: Sequence[Tensor], laterals: nn.ModuleList, upsamples: nn.ModuleList,
    refinements: nn.ModuleList,
) -> Tensor:  # fmt: skip
    """Projects all levels, and from the coarsest on upsamples, adds the finer one and refines.

    Args:
        levels: (B, C_i, H_i, W_i), finest first.
        laterals: of each level, to its width.
        upsamples: to each level but the coarsest, called with a map and the level to reach.
        refinements: of each level's map.

    Returns:
        The refined map of the finest level.
    """
    maps = [lateral(level) for lateral, level in zip(laterals, levels, strict=True)]
    x: Tensor = refinements[-1](maps[-1])
    for i in reversed(range(len(maps) - 1)):
        x = refinements[i](maps[i] + upsamples[i](x, maps[i]))
    return x


class TopDownDecoder(Block):
    """Top-down decoder over a backbone's levels, with a choice of upsampling and refinement.

    Each level is brought to a common width by a 1×1 convolution. From the coarsest to the finest,
    the map so far is upsampled, added to that level, and refined.

    Args:
        in_channels: channels of the levels, finest first.
        channels: width of the finest level.
        upsample: makes an upsampling of in_channels, channels and scale_factor, which is called
            with a map and the level to reach (`GuidedUpsample`).
        refine: makes a refinement of that many channels.
        project: makes the 1×1 convolutions.
        strides: strides of the levels; default: each twice the one before.
        widths: width of each level, finest first; default: `channels` for all.

    Raises:
        ValueError: lists of different lengths, `widths` whose first is not `channels`, or a level
            that is not coarser than the one before.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        upsample: Upsample,
        refine: Callable[[int], nn.Module],
        project: Project = Projection,
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        factors = scale_factors(strides, len(in_channels))
        widths = list(widths) if widths is not None else [channels] * len(in_channels)
        if len(widths) != len(in_channels):
            raise ValueError(f'widths: expected {len(in_channels)} values, got {widths}')
        if widths[0] != channels:
            raise ValueError(f'widths: expected to start with channels {channels}, got {widths}')
        if 1 in factors:
            raise ValueError(f'strides: expected each above the one before, got {strides}')
        self.laterals = BlockList(
            project(c, width) for c, width in zip(in_channels, widths, strict=True)
        )
        self.upsamples = BlockList(
            upsample(coarse, fine, factor)
            for (fine, coarse), factor in zip(pairwise(widths), factors, strict=True)
        )
        self.refinements = BlockList(refine(width) for width in widths)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, C_i, H_i, W_i), finest first, to (B, channels, H, W) of the finest.

        Raises:
            ValueError: another number of levels, or sizes that do not fit the strides.
        """
        if len(levels) != len(self.laterals):
            raise ValueError(f'levels: expected {len(self.laterals)} maps, got {len(levels)}')
        return climb(levels, self.laterals, self.upsamples, self.refinements)


class DDFDecoder(TopDownDecoder):
    """The flagship: `TopDownDecoder` with decoupled dynamic filters at every level.

    A map is upsampled by filters that the next finer level predicts and that start as
    interpolation (`GuidedUpsample`), and refined by a depthwise and a 1×1 convolution with gated
    filters of each pixel's own (`GatedRefinement`). With another normalization than
    'interpolation' in ddf_cfg, the paper's filters (`DDFRefinement`), the spatial ones alone unless
    it asks for both branches.

    Args:
        in_channels: channels of the levels, finest first.
        channels: width of the finest level.
        ddf_cfg: as for `GuidedUpsample`, but context is False if not given (with another
            normalization: for `DDFPack`, too).
        align_corners: of the interpolation that the filters start from.
        kwargs: project, strides and widths, as for `TopDownDecoder`.

    Raises:
        ValueError: as `TopDownDecoder`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        ddf_cfg: dict[str, Any] | None = None,
        align_corners: bool = False,
        project: Project = Projection,
        **kwargs: Any,
    ) -> None:
        resize_cfg = dict(mode='bilinear', align_corners=align_corners)
        layers = {'branches': 'spatial', **layer_arguments(ddf_cfg)}
        if starts_as_interpolation(layers):
            # What context adds was measured where a head upsamples without refining, and it takes
            # most time at the finest level, which here has stride 2.
            layers = {'context': False, **layers}

        def upsample(coarse: int, fine: int, factor: int) -> nn.Module:
            return GuidedUpsample(coarse, fine, factor, resize_cfg, layers)

        def refine(width: int) -> nn.Module:
            if starts_as_interpolation(layers):
                return GatedRefinement(width, project)
            return DDFRefinement(width, project, layers)

        super().__init__(
            in_channels, channels, upsample=upsample, refine=refine, project=project, **kwargs
        )
