"""Any head of mmseg, with DDF on the feature map that it classifies or takes masks from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

from mmengine.model import BaseModule, ModuleList, PretrainedInit, initialize
from mmseg.models.decode_heads.aspp_head import ASPPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.decode_heads.fcn_head import FCNHead
from mmseg.models.decode_heads.psp_head import PSPHead
from mmseg.models.decode_heads.uper_head import UPerHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...decoders.levels import layer_arguments, split_ddf_cfg, starts_as_interpolation
from ...decoders.refinement import DDFRefinement, GatedAddition
from ...decoders.upsampling import GuidedUpsample
from ...layers import DDFPack, DDFUpPack
from ..blocks import mmcv_projection


def _refinement(
    channels: int, norm_cfg: Any, act_cfg: dict[str, Any], layers: dict[str, Any]
) -> nn.Module:
    """What refines a map that has no finer level to guide its upsampling."""
    if starts_as_interpolation(layers):
        return GatedAddition(channels, layers)
    return DDFRefinement(channels, mmcv_projection(norm_cfg, act_cfg), layers)


# Those of mmdet, whose masks are products with a map
MASK_HEADS = ('MaskFormerHead', 'Mask2FormerHead')


class _OwnInitialisation(BaseModule):
    """Keeps the filter branches' initialisation where a head initialises every convolution."""

    def init_weights(self) -> None:
        done = self.is_init
        super().init_weights()
        if done:
            # mmengine initialises nothing twice.
            return
        for module in self.modules():
            if isinstance(module, (DDFPack, DDFUpPack)):
                module.init_weights()
        # Weights of a checkpoint come last, as in mmengine.
        configs = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg or []
        for cfg in configs:
            if cfg['type'] in ('Pretrained', PretrainedInit):
                initialize(self, cfg)


def _climb(features: Tensor, guides: Sequence[Tensor], upsamples: Sequence[nn.Module]) -> Tensor:
    for guide, upsample in zip(reversed(guides), reversed(upsamples), strict=True):
        features = upsample(features, guide)
    return features


class _Guided(_OwnInitialisation, BaseDecodeHead):
    """What every guided head adds to its parent; see `build_guided_head` for the arguments."""

    # Whether the parent's classifier is BaseDecodeHead's, which commutes with a filter that all
    # channels share: dropout of whole channels and a 1×1 convolution.
    _classifies_pointwise: bool

    def __init__(
        self,
        *,
        guide_index: Sequence[int],
        guide_channels: Sequence[int],
        ddf_cfg: dict[str, Any] | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if getattr(self, 'conv_seg', None) is None:
            raise ValueError(
                f'head: {type(self).__bases__[1].__name__} has no conv_seg, hence no feature map '
                'before a classifier that DDF could act on'
            )
        if len(guide_index) != len(guide_channels):
            raise ValueError(
                f'guide_channels: expected one value for each of guide_index {guide_index}, '
                f'got {guide_channels}'
            )
        factors, layers = split_ddf_cfg(ddf_cfg, len(guide_index) + 1)
        channels = self.conv_seg.in_channels
        resize_cfg = dict(mode='bilinear', align_corners=self.align_corners)
        self.guide_index = tuple(guide_index)
        self.ddf_upsamples = ModuleList(
            GuidedUpsample(channels, channels, factor, resize_cfg, layers, guide)
            for factor, guide in zip(factors, guide_channels, strict=True)
        )
        self.ddf_refinement = (
            None if guide_index else _refinement(channels, self.norm_cfg, self.act_cfg, layers)
        )

    def _apply_ddf(self, features: Tensor, guides: Sequence[Tensor]) -> Tensor:
        """(B, channels, H, W) to the same width at the first guide's size."""
        if self.ddf_refinement is not None:
            return self.ddf_refinement(features)
        return _climb(features, guides, self.ddf_upsamples)

    def _classified(
        self,
        features: Tensor,
        guides: Sequence[Tensor],
        classify: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Scores of what DDF makes of the parent's features."""
        if not guides or not self._classifies_pointwise or self.out_channels >= features.shape[1]:
            return classify(self._apply_ddf(features, guides))
        # Fewer channels are left to upsample.
        finest, *others = guides
        last, *upsamples = self.ddf_upsamples
        return last.then_pointwise(_climb(features, others, upsamples), finest, classify)


class _GuidedFeature(_Guided):
    """For heads whose `_forward_feature` makes the map: K-Net's kernels act on it, too."""

    def _forward_feature(self, inputs: Sequence[Tensor]) -> Tensor:
        features = super()._forward_feature(inputs)
        return self._apply_ddf(features, [inputs[i] for i in self.guide_index])


class _GuidedMap(_GuidedFeature):
    """For those of them whose forward classifies that map, and does no more."""

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """The backbone's levels to class scores at the size of the first guide, if any."""
        features = super(_GuidedFeature, self)._forward_feature(inputs)
        return self._classified(features, [inputs[i] for i in self.guide_index], self.cls_seg)


class _GuidedClassifier(_Guided):
    """For all others: between the parent's forward and its classifier."""

    # The levels of the forward pass that is running, since cls_seg gets nothing but the map.
    _guides: Sequence[Tensor] = ()

    def forward(self, inputs: Sequence[Tensor], *args: Any, **kwargs: Any) -> Any:
        """As the parent's, with larger maps of scores where there are guides."""
        self._guides = [inputs[i] for i in self.guide_index]
        try:
            return super().forward(inputs, *args, **kwargs)
        finally:
            self._guides = ()

    def cls_seg(self, feat: Tensor) -> Tensor:
        """The parent's classifier on the map that DDF made of the parent's."""
        return self._classified(feat, self._guides, super().cls_seg)


class _RefinedConv(nn.Conv2d):
    """A convolution, with its keys, whose output a DDF refines.

    Args:
        conv: its weights are taken over.
        ddf_cfg: its normalization says how; see `build_guided_head`.
    """

    def __init__(self, conv: nn.Conv2d, ddf_cfg: dict[str, Any] | None) -> None:
        kernel_size: Any = conv.kernel_size
        stride: Any = conv.stride
        padding: Any = conv.padding
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            kernel_size,
            stride,
            padding,
            bias=conv.bias is not None,
        )
        self.weight, self.bias = conv.weight, conv.bias
        self.ddf_refinement = _refinement(
            conv.out_channels, None, dict(type='ReLU'), layer_arguments(ddf_cfg)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W')."""
        refined: Tensor = self.ddf_refinement(super().forward(x))
        return refined


class _RefinedMasks(_OwnInitialisation):
    """For mmdet's mask classification: every mask is a product with the refined map."""

    def __init__(
        self,
        *,
        guide_index: Sequence[int],
        guide_channels: Sequence[int],
        ddf_cfg: dict[str, Any] | None,
        **kwargs: Any,
    ) -> None:
        if guide_index or guide_channels:
            raise ValueError(
                f'guide_index: expected none, got {guide_index}: the masks come from a map that is '
                'at the finest level already'
            )
        super().__init__(**kwargs)
        decoder = self.pixel_decoder
        decoder.mask_feature = _RefinedConv(decoder.mask_feature, ddf_cfg)


def _mask_heads() -> list[type]:
    # mmseg's own classes, which are empty shells where mmdet is not installed.
    return [MODELS.get(name) for name in MASK_HEADS]


def _definer(kind: type, name: str) -> type | None:
    return next((base for base in kind.__mro__ if name in vars(base)), None)


@functools.cache
def _guided(parent: Any) -> Any:
    """The guided subclass of a head."""
    mixin: type
    if not issubclass(parent, BaseDecodeHead):
        mixin = _RefinedMasks
    elif (definer := _definer(parent, 'forward')) is _definer(parent, '_forward_feature'):
        classifies = definer in (ASPPHead, FCNHead, PSPHead, UPerHead)
        mixin = _GuidedMap if classifies else _GuidedFeature
    else:
        mixin = _GuidedClassifier
    members = {
        '__module__': __name__,
        '_classifies_pointwise': _definer(parent, 'cls_seg') is BaseDecodeHead,
    }
    return type(f'Guided{parent.__name__}', (mixin, parent), members)


@MODELS.register_module(name='DDFGuidedHead')
def build_guided_head(
    head: str,
    guide_index: Sequence[int] = (),
    guide_channels: Sequence[int] = (),
    ddf_cfg: dict[str, Any] | None = None,
    **kwargs: Any,
) -> BaseModule:
    """Builds a head of mmseg, or one of yours, with DDF before its classifier.

    Joint DDF-Up upsamples the map that the head would classify, guided by finer levels of the
    backbone, one after the other (`GuidedUpsample`). Without guides, gated filters are added to the
    map at its own size (`GatedAddition`); in MaskFormer and Mask2Former, to the map that the masks
    are computed from. Everything else is as in the head, with its keys in the state dict. With the
    head's weights it computes, at first, the head's scores: with guides, these interpolated.

    With another normalization than 'interpolation' in ddf_cfg, the paper's filters: without guides,
    a DDF then refines the map (`DDFRefinement`).

    Args:
        head: registered name of a head that ends in `cls_seg` ('PSPHead', 'OCRHead', …), or has
            mmdet's pixel decoder ('MaskFormerHead', 'Mask2FormerHead').
        guide_index: indices, among the levels that the head is given, of those that guide, finest
            first. Neighbours differ by a factor of 2, as do the last one and the head's map, unless
            `strides` says otherwise. The scores get the size of the first.
        guide_channels: channels of these levels.
        ddf_cfg: with guides, as for `GuidedUpsample`, and `strides`: those of the guides and of the
            head's map, finest first; default: each twice the one before. Without, as for
            `GatedAddition` (with another normalization: for `DDFPack`).
        kwargs: the head's own arguments.

    Raises:
        KeyError: no head of this name is registered.
        TypeError: it is another kind of class, or an argument in ddf_cfg is unknown.
        ValueError: it has no classifier for feature maps (PointHead, SegmenterMaskTransformerHead,
            …), or the guides do not fit.
    """
    parent = MODELS.get(head)
    if parent is None:
        raise KeyError(f'head: {head!r} is not registered among the models')
    if not (isinstance(parent, type) and issubclass(parent, (BaseDecodeHead, *_mask_heads()))):
        raise TypeError(f'head: expected the name of a BaseDecodeHead, got {head!r} ({parent})')
    # mypy takes no class for hashable.
    built: BaseModule = _guided(cast(Any, parent))(
        guide_index=guide_index, guide_channels=guide_channels, ddf_cfg=ddf_cfg, **kwargs
    )
    return built
