"""ResNet with decoupled dynamic filters in place of its 3×3 convolutions."""

from __future__ import annotations

from typing import Any, ClassVar

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmseg.models.backbones import ResNet, ResNetV1c, ResNetV1d
from mmseg.models.backbones.resnet import Bottleneck
from mmseg.registry import MODELS
from torch import nn

DEPTHS = (50, 101, 152)


@MODELS.register_module()
class DDFResNet(ResNet):
    """DDF-ResNet of "Decoupled Dynamic Filter Networks" (arXiv 2104.14107, section 4.1).

    The 3×3 convolution of every bottleneck is a `DDFPack`. The state dict has the keys of the
    authors' checkpoints, which are those of timm's ResNet.

    Args:
        depth: 50, 101 or 152.
        ddf_cfg: further arguments of `DDFPack` (kernel_combine, se_ratio, head, …).
        kwargs: as for mmseg's ResNet (strides, dilations, deep_stem, avg_down, …), but dcn.

    Raises:
        ValueError: another depth, whose blocks have no bottleneck.
    """

    # For ddf_seg.swap, see `Replacement`
    replaces: ClassVar[tuple[str, ...]] = ('ResNet',)
    brings = (
        'DDF in place of the 3×3 convolution of every bottleneck; pretrained weights fit all other '
        'layers'
    )

    depths: ClassVar[tuple[int, ...]] = DEPTHS

    def __init__(self, depth: int, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if depth not in self.depths:
            raise ValueError(f'depth: expected one of {self.depths} (bottlenecks), got {depth}')
        super().__init__(
            depth=depth,
            dcn=dict(type='DDF', **(ddf_cfg or {})),
            stage_with_dcn=(True,) * kwargs.get('num_stages', 4),
            **kwargs,
        )


@MODELS.register_module()
class DDFResNetV1c(DDFResNet, ResNetV1c):
    """DDFResNet with three 3×3 convolutions as its stem, as mmseg's ResNetV1c."""

    replaces = ('ResNetV1c',)


@MODELS.register_module()
class DDFResNetV1d(DDFResNet, ResNetV1d):
    """DDFResNetV1c that averages before it projects the shortcut, as mmseg's ResNetV1d."""

    replaces = ('ResNetV1d',)


@MODELS.register_module()
class DDFResNetSmall(DDFResNet):
    """DDFResNet for images of 32×32 pixels: a 3×3 stem without stride, three stages.

    9 · n + 2 layers, n bottlenecks a stage (He et al., ECCV 2016, section 5).

    Args:
        depth: 20, 29 or 56.
        base_channels: of the bottlenecks in the first stage; levels have 4, 8, 16 times as many.
        kwargs: see `DDFResNet`.
    """

    arch_settings: ClassVar[dict[int, Any]] = {
        9 * n + 2: (Bottleneck, (n, n, n)) for n in (2, 3, 6)
    }
    depths = tuple(arch_settings)
    replaces = ()

    def __init__(self, depth: int, base_channels: int = 16, **kwargs: Any) -> None:
        stages = dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(0, 1, 2))
        super().__init__(
            depth,
            base_channels=base_channels,
            stem_channels=base_channels,
            **{**stages, **kwargs},
        )

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        self.conv1 = build_conv_layer(
            self.conv_cfg, in_channels, stem_channels, kernel_size=3, padding=1, bias=False
        )
        self.norm1_name, norm = build_norm_layer(self.norm_cfg, stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
