"""ResNet with decoupled dynamic filters in place of its 3×3 convolutions."""

from __future__ import annotations

from typing import Any, ClassVar

from mmseg.models.backbones import ResNet, ResNetV1c, ResNetV1d
from mmseg.registry import MODELS

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

    def __init__(self, depth: int, ddf_cfg: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if depth not in DEPTHS:
            raise ValueError(f'depth: expected one of {DEPTHS} (bottlenecks), got {depth}')
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
