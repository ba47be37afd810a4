"""Turns any config of mmsegmentation into its DDF counterpart.

A head that DDF has a class for gets that class; any other that classifies a feature map becomes a
`DDFGuidedHead`. Which levels guide, and how far apart they are, is found by running backbone and
neck once, on a small image and random weights.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

from .engine.errors import UsageError
from .layers import DDFConv2d
from .models.levels import Level, Probe, build

MODULE = 'ddf_seg.openmmlab'
# Guides finer than this cost more than the whole decoder, and hold little but the image.
FINEST_GUIDE = 4
LINE_LENGTH = 100

_CLASSES = {
    'UPerHead': 'DDFUPerHead',
    'FPNHead': 'DDFFPNHead',
    'SegformerHead': 'DDFSegformerHead',
    'ASPPHead': 'DDFASPPHead',
    'DepthwiseSeparableASPPHead': 'DDFASPPHead',
}
_BACKBONES = {
    'ResNet': 'DDFResNet',
    'ResNetV1c': 'DDFResNetV1c',
    'ResNetV1d': 'DDFResNetV1d',
}
_BOTTLENECK_DEPTHS = (50, 101, 152)
_MASK_HEADS = ('MaskFormerHead', 'Mask2FormerHead')
# Heads without a feature map that a convolution classifies, and why DDF has no place in them.
_REFUSED = {
    'PointHead': 'it classifies single points, which have no neighbourhood to filter',
    'SegmenterMaskTransformerHead': 'its masks are products of patch tokens and class tokens at '
    "the backbone's only resolution; there is no map before a classifier, nor a finer one to guide",
    'SideAdapterCLIPHead': 'its masks and classes come from the tokens of two transformers, with '
    'no map before a classifier',
    'VPDDepthHead': 'it estimates depth from a diffusion model; it classifies nothing',
}


@dataclass
class Swap:
    """What has to change in a config, and why.

    Attributes:
        options: the changes, nested as a config that inherits the original holds them.
        notes: the same in words, one line each.
    """

    options: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def swap_heads(
    cfg: Config,
    head: bool = True,
    upsample: bool = False,
    convs: bool = False,
    backbone: bool = False,
) -> Config:
    """The DDF counterpart of a config.

    Args:
        cfg: any config of mmsegmentation, or one that inherits from it. It stays as it is.
        head: swap the decode head (auxiliary heads, which only help in training, stay).
        upsample: put DDF-Up into an FPN neck or a UNet.
        convs: make the 3×3 convolutions of the decode head that follow `conv_cfg` DDF.
        backbone: make a ResNet a DDF-ResNet.

    Returns:
        A config that differs from `cfg` by what `plan_swap` says.

    Raises:
        UsageError: one of these makes no sense for this config; the message says why.
    """
    swapped = copy.deepcopy(cfg)
    plan = plan_swap(cfg, head, upsample, convs, backbone)
    swapped.merge_from_dict(copy.deepcopy(plan.options))
    return swapped


def plan_swap(
    cfg: Config,
    head: bool = True,
    upsample: bool = False,
    convs: bool = False,
    backbone: bool = False,
) -> Swap:
    """What `swap_heads` changes; see there."""
    if not (head or upsample or convs or backbone):
        raise UsageError('nothing to swap: expected head, upsample, convs or backbone')
    model: dict[str, Any] = cfg.to_dict().get('model') or {}
    _check_refused(_kind(model.get('decode_head')), 'decode_head')
    if 'backbone' not in model or 'decode_head' not in model:
        raise UsageError(
            'the config has no model with a backbone and a decode_head: it describes no segmentor'
        )
    imports = _union_of_imports(cfg.get('custom_imports'))
    if 'custom_imports' in cfg and cfg.custom_imports is None:
        imports['_delete_'] = True
    swap = Swap(dict(custom_imports=imports, model={}))
    changes = swap.options['model']
    if backbone:
        _merge(changes, dict(backbone=_swap_backbone(model, swap.notes)))
    if upsample:
        _merge(changes, _swap_upsampling(model, swap.notes))
    if head or convs:
        # The head has to fit what backbone and neck become.
        base = _applied(model, changes)
        changes['decode_head'] = _swap_decode_head(base, head, convs, swap.notes)
    return swap


def config_text(swap: Swap, source: str, target: Path) -> str:
    """The text of a config that inherits `source` and changes what a swap says.

    Args:
        swap: of the config at `source`.
        source: a file, or a config of a package: 'mmseg::…'.
        target: where the text will be written.
    """
    # mmengine looks for a base beside the file that names it.
    base = source if '::' in source else Path(os.path.relpath(source, target.parent)).as_posix()
    lines = [f'# {note}' for note in swap.notes] + [f'_base_ = {base!r}']
    lines += [f'{key} = {_text(value, len(key) + 3, 0)}' for key, value in swap.options.items()]
    return '\n'.join(lines) + '\n'


def _text(value: Any, used: int, depth: int) -> str:
    """A value as configs write it, on one line where it fits beside what is there already.

    mmengine's own `pretty_text` sorts the keys and gives each number a line of its own.
    """
    pairs: list[tuple[str, Any]]
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        opening, closing = 'dict(', ')'
        pairs = [(f'{key}=', item) for key, item in value.items()]
    elif isinstance(value, dict):
        opening, closing = '{', '}'
        pairs = [(f'{key!r}: ', item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        pairs = [('', item) for item in value]
    else:
        return repr(value)
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    flat = ', '.join(name + _text(item, 0, 0) for name, item in pairs)
    flat = opening + flat + comma + closing
    if used + len(flat) < LINE_LENGTH and '\n' not in flat:
        return flat
    indent = '    ' * (depth + 1)
    items = [
        f'{indent}{name}{_text(item, len(indent) + len(name) + 1, depth + 1)},\n'
        for name, item in pairs
    ]
    return opening + '\n' + ''.join(items) + '    ' * depth + closing


def _union_of_imports(custom_imports: dict[str, Any] | None) -> dict[str, Any]:
    """A config's list of imports replaces its parent's, so ours has to hold theirs."""
    theirs = (custom_imports or {}).get('imports', [])
    theirs = [theirs] if isinstance(theirs, str) else list(theirs)
    imports = [*theirs, *([] if MODULE in theirs else [MODULE])]
    allow = bool((custom_imports or {}).get('allow_failed_imports', False))
    return dict(imports=imports, allow_failed_imports=allow)


def _merge(changes: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(changes.get(key), dict):
            _merge(changes[key], value)
        else:
            changes[key] = value


def _applied(node: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A node of a config with changes, as mmengine merges a child's into its base's."""
    merged: dict[str, Any] = Config._merge_a_into_b(copy.deepcopy(changes), copy.deepcopy(node))
    return merged


def _kind(node: Any) -> str:
    return str(node.get('type', '')).rpartition('.')[2] if isinstance(node, dict) else ''


# --- decode heads ---


def _swap_decode_head(model: dict[str, Any], head: bool, convs: bool, notes: list[str]) -> Any:
    heads = model['decode_head']
    probe = Probe(model)
    if not isinstance(heads, list):
        path = 'decode_head'
        change = _swap_head(probe, [], heads, path, head, convs, notes)
        _check_running(probe, [_applied(heads, change)], path)
        return change
    # The last stage's scores are the result; a stage before keeps its size, which the next needs.
    last = len(heads) - 1
    if _kind(heads[last]) == 'PointHead' and last:
        notes.append(f'decode_head[{last}] (PointHead) stays: {_REFUSED["PointHead"]}')
        last -= 1
    path = f'decode_head[{last}]'
    change = _swap_head(probe, heads[:last], heads[last], path, head, convs, notes)
    swapped = [*heads[:last], _applied(heads[last], change), *heads[last + 1 :]]
    _check_running(probe, swapped[: last + 1], path)
    return swapped


def _swap_head(
    probe: Probe,
    before: Sequence[dict[str, Any]],
    cfg: dict[str, Any],
    path: str,
    head: bool,
    convs: bool,
    notes: list[str],
) -> dict[str, Any]:
    """The changes to one head, given the stages of a cascade before it."""
    kind = _kind(cfg)
    if kind.startswith('DDF'):
        raise UsageError(f'{path}: {kind} is a DDF head already')
    _check_refused(kind, path)
    if kind == 'IterativeDecodeHead':
        inner = 'kernel_generate_head'
        change = _swap_head(probe, before, cfg[inner], f'{path}.{inner}', head, convs, notes)
        return {inner: change}
    change = {}
    if head:
        rule: Callable[..., dict[str, Any]] = _as_guided
        if kind in _CLASSES:
            rule = _as_class
        elif kind in _MASK_HEADS:
            rule = _as_masks
        try:
            change = rule(probe, before, cfg, path, notes)
        except UsageError:
            raise
        except Exception as error:
            raise _explain_original(path, kind, error) from error
    if convs:
        change['conv_cfg'] = _swap_convs(_applied(cfg, change), path, notes)
    return change


def _check_refused(kind: str, path: str) -> None:
    if kind in _REFUSED:
        raise UsageError(f'{path}: {kind} cannot be swapped: {_REFUSED[kind]}')


def _explain_original(path: str, kind: str, error: Exception) -> UsageError:
    lines = str(error).strip().splitlines() or ['']
    return UsageError(
        f'{path}: the original cannot be run here to see its levels ({kind}): '
        f'{type(error).__name__}: {lines[0]}'
    )


def _check_running(probe: Probe, heads: Sequence[dict[str, Any]], path: str) -> None:
    try:
        probe.run(heads)
    except Exception as error:
        raise UsageError(
            f'{path}: the swapped head does not run: {type(error).__name__}: {error}'
        ) from error


def _as_class(
    probe: Probe, _: Sequence[dict[str, Any]], cfg: dict[str, Any], path: str, notes: list[str]
) -> dict[str, Any]:
    """For heads that DDF has a class of its own for: the same arguments, and the strides."""
    kind, ours = _kind(cfg), _CLASSES[_kind(cfg)]
    change: dict[str, Any] = dict(type=ours)
    if ours == 'DDFFPNHead':
        strides = list(cfg['feature_strides'])
    elif ours == 'DDFASPPHead':
        levels = probe.levels()
        used = [0, cfg.get('in_index', -1)] if cfg.get('c1_in_channels') else []
        strides = [_level(levels, i, path).stride for i in used]
    else:
        levels = probe.levels()
        strides = [_level(levels, i, path).stride for i in cfg['in_index']]
    if ours != 'DDFFPNHead' and any(b != 2 * a for a, b in pairwise(strides)):
        change['ddf_cfg'] = dict(strides=strides)
    what = f'joint DDF-Up between strides {_listed(strides)}' if len(set(strides)) > 1 else ''
    convs = '' if ours == 'DDFSegformerHead' else 'DDF in its 3×3 convolutions'
    notes.append(f'{path}: {kind} -> {ours}: {_listed([x for x in (convs, what) if x])}')
    return change


def _level(levels: Sequence[Level | None], index: int, path: str) -> Level:
    level = levels[index] if -len(levels) <= index < len(levels) else None
    if level is None:
        raise UsageError(f'{path}: in_index {index} is no feature map of the backbone')
    return level


def _as_guided(
    probe: Probe, before: Sequence[dict[str, Any]], cfg: dict[str, Any], path: str, notes: list[str]
) -> dict[str, Any]:
    """For every other head: upsampling under the guidance of finer levels, or refinement."""
    kind = _kind(cfg)
    parent = MODELS.get(cfg['type'])
    if not (isinstance(parent, type) and issubclass(parent, BaseDecodeHead)):
        raise UsageError(f'{path}: {kind} cannot be swapped: it is not a BaseDecodeHead')
    levels = probe.levels()
    classified = probe.classified([*before, cfg])
    change: dict[str, Any] = dict(type='DDFGuidedHead', head=cfg['type'])
    guides = _guides(levels, classified.stride)
    if not guides:
        notes.append(
            f'{path}: {kind} -> DDFGuidedHead: DDF refines its feature map ({classified.channels} '
            f'channels, stride {classified.stride}); no finer level of stride '
            f'{FINEST_GUIDE} or more could guide an upsampling'
        )
        return change
    strides = [*(level.stride for _, level in guides), classified.stride]
    change['guide_index'] = [index for index, _ in guides]
    change['guide_channels'] = [level.channels for _, level in guides]
    if any(b != 2 * a for a, b in pairwise(strides)):
        change['ddf_cfg'] = dict(strides=strides)
    notes.append(
        f'{path}: {kind} -> DDFGuidedHead: joint DDF-Up upsamples its feature map '
        f'({classified.channels} channels) from stride {classified.stride} to {strides[0]}, '
        f'guided by level{"s" * (len(guides) > 1)} {_listed(change["guide_index"][::-1])}'
    )
    return change


def _as_masks(
    _: Probe, __: Sequence[dict[str, Any]], cfg: dict[str, Any], path: str, notes: list[str]
) -> dict[str, Any]:
    """For mask classification: refinement of the map that the masks are products with."""
    notes.append(
        f"{path}: {_kind(cfg)} -> DDFGuidedHead: DDF refines the pixel decoder's map, which the "
        'masks are computed from'
    )
    return dict(type='DDFGuidedHead', head=cfg['type'])


def _guides(levels: Sequence[Level | None], stride: int) -> list[tuple[int, Level]]:
    """The levels that lead from a stride to the finest, finest first: one of each stride."""
    found: dict[int, tuple[int, Level]] = {}
    for index, level in enumerate(levels):
        if level is not None and FINEST_GUIDE <= level.stride < stride:
            found.setdefault(level.stride, (index, level))
    steps = [*sorted(found), stride]
    if any(b % a for a, b in pairwise(steps)):
        return []
    return [found[step] for step in steps[:-1]]


def _listed(items: Sequence[Any]) -> str:
    texts = [str(item) for item in items]
    return ', '.join(texts[:-1]) + ' and ' + texts[-1] if len(texts) > 1 else ''.join(texts)


def _swap_convs(cfg: dict[str, Any], path: str, notes: list[str]) -> dict[str, Any]:
    kind = _kind(cfg)
    if cfg.get('conv_cfg'):
        raise UsageError(f'{path}.conv_cfg: {kind} has {cfg["conv_cfg"]} already')
    conv_cfg = dict(type='DDF', pointwise=True)
    built = build({**cfg, 'conv_cfg': conv_cfg})
    number = sum(isinstance(module, DDFConv2d) for module in built.modules())
    if not number:
        raise UsageError(
            f'{path}.conv_cfg: none of the convolutions of {cfg.get("head", kind)} that follow '
            'conv_cfg is larger than 1×1, so there is nothing to filter'
        )
    notes.append(
        f'{path}: {number} convolution{"s" * (number > 1)} become{"s" * (number == 1)} DDF, each '
        'with a 1×1 convolution that mixes its channels; their pretrained weights do not fit'
    )
    return conv_cfg


# --- backbone and neck ---


def _swap_backbone(model: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    cfg, path = model['backbone'], 'backbone'
    nested = isinstance(cfg.get('backbone_cfg'), dict)
    if nested:
        cfg, path = cfg['backbone_cfg'], 'backbone.backbone_cfg'
    kind = _kind(cfg)
    if kind.startswith('DDF'):
        raise UsageError(f'{path}: {kind} is a DDF backbone already')
    if kind not in _BACKBONES:
        kinds = _listed(list(_BACKBONES))
        raise UsageError(
            f'{path}: {kind} cannot be swapped: expected one of {kinds}, whose bottlenecks have a '
            '3×3 convolution between two 1×1, so that DDF need not mix channels'
        )
    if cfg.get('depth') not in _BOTTLENECK_DEPTHS:
        raise UsageError(
            f'{path}: depth {cfg.get("depth")} cannot be swapped: expected one of '
            f'{_BOTTLENECK_DEPTHS}; the blocks of others mix channels in their 3×3 convolutions'
        )
    if cfg.get('dcn') is not None:
        raise UsageError(f'{path}.dcn: {cfg["dcn"]} stands where DDF would')
    notes.append(
        f'{path}: {kind} -> {_BACKBONES[kind]}: DDF in place of the 3×3 convolution of every '
        'bottleneck; pretrained weights fit all other layers'
    )
    change = dict(type=_BACKBONES[kind])
    return dict(backbone_cfg=change) if nested else change


def _swap_upsampling(model: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    neck, backbone = model.get('neck') or {}, model['backbone']
    if _kind(neck) == 'FPN':
        change: dict[str, Any] = dict(type='DDFFPN')
        levels = Probe({**model, 'neck': None}).levels()
        start, end = neck.get('start_level', 0), neck.get('end_level', -1)
        used = levels[start:] if end == -1 else levels[start : end + 1]
        strides = [level.stride for level in used if level is not None]
        if any(b != 2 * a for a, b in pairwise(strides)):
            change['ddf_cfg'] = dict(strides=strides)
        changes['neck'] = change
        notes.append(
            f'neck: FPN -> DDFFPN: joint DDF-Up in the top-down path, strides {_listed(strides)}'
        )
    if _kind(backbone) == 'UNet':
        changes['backbone'] = dict(upsample_cfg=dict(_delete_=True, type='DDFUp'))
        old = _kind(backbone.get('upsample_cfg')) or 'InterpConv'
        notes.append(f'backbone.upsample_cfg: {old} -> DDFUp')
    if not changes:
        raise UsageError(
            f'nothing to swap for --upsample: neither the backbone ({_kind(backbone)}) nor the '
            f'neck ({_kind(neck) or "none"}) is a UNet or an FPN, the two that upsample by a layer '
            'of their own'
        )
    return changes
