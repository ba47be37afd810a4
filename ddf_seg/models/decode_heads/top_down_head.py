"""Top-down decoders as heads of mmseg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...decoders.top_down import TopDownDecoder, climb
from ..blocks import mmcv_projection


class LevelsHead(BaseDecodeHead):
    """A `TopDownDecoder` and mmseg's classifier and losses.

    Args:
        in_channels: channels of the level, or of the levels, finest first.
        channels: width of the finest level, where the classifier stands.
        in_index: index of the level, or of the levels, finest first. Neighbours differ by a factor
            of 2, or by the power of 2 that `strides` says.
        kwargs: as for mmseg's BaseDecodeHead; input_transform is derived.
    """

    laterals: nn.ModuleList
    upsamples: nn.ModuleList
    refinements: nn.ModuleList

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        in_index: int | Sequence[int] = -1,
        **kwargs: Any,
    ) -> None:
        single = isinstance(in_channels, int)
        super().__init__(
            in_channels,
            channels,
            in_index=in_index,
            input_transform=None if single else 'multiple_select',
            **kwargs,
        )
        self.level_channels = [in_channels] if isinstance(in_channels, int) else list(in_channels)
        self.project = mmcv_projection(self.norm_cfg, self.act_cfg)

    def take_over(self, decoder: TopDownDecoder) -> None:
        """Makes a decoder's parts the head's own, under the keys that checkpoints have."""
        for name, part in decoder.named_children():
            self.add_module(name, part)

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        """The refined map of the finest level, (B, channels, H, W)."""
        levels = self._transform_inputs(inputs)
        levels = [levels] if isinstance(levels, Tensor) else levels
        return climb(levels, self.laterals, self.upsamples, self.refinements)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores (B, out_channels, H, W) at the finest of them."""
        return self.cls_seg(self._forward_feature(inputs))


@MODELS.register_module()
class TopDownHead(LevelsHead):
    """Top-down decoder over a backbone's levels, of blocks that the config chooses.

    Args:
        in_channels, channels, kwargs: as for `LevelsHead`.
        upsample: config of the upsampling layers, which are built with in_channels, channels,
            scale_factor and resize_cfg, and called with a map and the level to reach.
        refine: config of the refinements, built with channels, norm_cfg and act_cfg.
        strides, widths: as for `TopDownDecoder`.

    Raises:
        ValueError: as `TopDownDecoder`.
    """

    def __init__(
        self,
        in_channels: int | Sequence[int],
        channels: int,
        *,
        upsample: dict[str, Any],
        refine: dict[str, Any],
        strides: Sequence[int] | None = None,
        widths: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, channels, **kwargs)
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        layers = dict(norm_cfg=self.norm_cfg, act_cfg=self.act_cfg)

        def build_upsample(coarse: int, fine: int, factor: int) -> nn.Module:
            sizes = dict(in_channels=coarse, channels=fine, scale_factor=factor)
            built: nn.Module = MODELS.build(dict(resize_cfg=resize_cfg, **sizes, **upsample))
            return built

        def build_refinement(width: int) -> nn.Module:
            built: nn.Module = MODELS.build(dict(channels=width, **layers, **refine))
            return built

        self.take_over(
            TopDownDecoder(
                self.level_channels,
                channels,
                upsample=build_upsample,
                refine=build_refinement,
                project=self.project,
                strides=strides,
                widths=widths,
            )
        )
