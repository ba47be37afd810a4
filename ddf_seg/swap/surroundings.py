"""The rules by which what stands before the decode head gets DDF: backbone and neck."""

from __future__ import annotations

from typing import Any

from ..engine.lookup.configs import kind_of
from ..errors import UsageError
from ..models.backbones.ddf_resnet import DEPTHS, DDFResNet
from .probe import Probe
from .replacements import in_words, replaced_by, replacement_of, strides_change

# Starts as UNet's own interpolation and 1×1 convolution.
_UNET_UPSAMPLING = dict(
    _delete_=True, type='DDFUp', normalization='interpolation', branches='spatial', kernel_size=5
)


def swap_backbone(model: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The changes to a model's backbone, a ResNet.

    Args:
        model: config of a segmentor.
        notes: gets what is changed, in words.

    Raises:
        UsageError: it is none that DDF has a class for.
    """
    cfg, path = model['backbone'], 'backbone'
    nested = isinstance(cfg.get('backbone_cfg'), dict)
    if nested:
        cfg, path = cfg['backbone_cfg'], 'backbone.backbone_cfg'
    kind = kind_of(cfg)
    if kind.startswith('DDF'):
        raise UsageError(f'{path}: {kind} is a DDF backbone already')
    ours = replacement_of(kind)
    if ours is None or not issubclass(ours.kind, DDFResNet):
        raise UsageError(
            f'{path}: {kind} cannot be swapped: expected one of '
            f'{in_words(replaced_by(DDFResNet))}, whose bottlenecks have a 3×3 convolution between '
            'two 1×1, so that DDF need not mix channels'
        )
    if cfg.get('depth') not in DEPTHS:
        raise UsageError(
            f'{path}: depth {cfg.get("depth")} cannot be swapped: expected one of {DEPTHS}; the '
            'blocks of others mix channels in their 3×3 convolutions'
        )
    if cfg.get('dcn') is not None:
        raise UsageError(f'{path}.dcn: {cfg["dcn"]} stands where DDF would')
    notes.append(f'{path}: {kind} -> {ours.name}: {ours.kind.brings}')
    change = dict(type=ours.name)
    return dict(backbone_cfg=change) if nested else change


def swap_upsampling(model: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The changes to what upsamples by a layer of its own: an FPN neck, a UNet.

    Args:
        model: config of a segmentor.
        notes: gets what is changed, in words.

    Raises:
        UsageError: the model has neither.
    """
    changes: dict[str, Any] = {}
    neck, backbone = model.get('neck') or {}, model['backbone']
    if ours := replacement_of(kind_of(neck)):
        levels = Probe({**model, 'neck': None}).levels()
        used = [levels[index] for index in ours.kind.wants_strides_of(neck)]
        strides = [level.stride for level in used if level is not None]
        changes['neck'] = {'type': ours.name, **strides_change(strides)}
        notes.append(
            f'neck: {kind_of(neck)} -> {ours.name}: {ours.kind.brings}, strides {in_words(strides)}'
        )
    if kind_of(backbone) == 'UNet':
        changes['backbone'] = dict(upsample_cfg=_UNET_UPSAMPLING)
        old = kind_of(backbone.get('upsample_cfg')) or 'InterpConv'
        notes.append(f'backbone.upsample_cfg: {old} -> DDFUp')
    if not changes:
        raise UsageError(
            f'nothing to swap for --upsample: neither the backbone ({kind_of(backbone)}) nor the '
            f'neck ({kind_of(neck) or "none"}) is a UNet or an FPN, the two that upsample by a '
            'layer of their own'
        )
    return changes
