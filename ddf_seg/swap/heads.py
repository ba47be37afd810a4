"""The rules by which decode heads get DDF."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from mmengine.config import Config
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS

from ..engine.lookup.configs import kind_of
from ..errors import UsageError, in_a_line
from ..layers import DDFConv2d
from ..models.decode_heads.ddf_guided_head import MASK_HEADS
from .probe import Level, Probe, build
from .replacements import Found, in_words, replacement_of, strides_change

# Guides finer than this cost more than the whole decoder, and hold little but the image.
FINEST_GUIDE = 4
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
class _Place:
    """A decode head that is to be swapped.

    Attributes:
        probe: of its model.
        before: the stages of a cascade before it.
        cfg: its config.
        path: where that stands.
        notes: gets what is changed, in words.
        fixed_size: whether its map has to keep its number of pixels.
    """

    probe: Probe
    before: Sequence[dict[str, Any]]
    cfg: dict[str, Any]
    path: str
    notes: list[str]
    fixed_size: bool = False

    @property
    def kind(self) -> str:
        return kind_of(self.cfg)


def swap_decode_head(model: dict[str, Any], head: bool, convs: bool, notes: list[str]) -> Any:
    """The changes to a model's decode head; of a cascade, which is a list, all of its stages.

    Args:
        model: config of a segmentor.
        head: swap the head that gives the result.
        convs: make its convolutions DDF.
        notes: gets what is changed, in words.

    Raises:
        UsageError: it cannot be swapped; the message says why.
    """
    heads = model['decode_head']
    probe = Probe(model)
    if not isinstance(heads, list):
        place = _Place(probe, [], heads, 'decode_head', notes)
        change = _swap_head(place, head, convs)
        _check_running(place, [applied(heads, change)])
        return change
    # The last stage's scores are the result; a stage before keeps its size, which the next needs.
    last = len(heads) - 1
    if kind_of(heads[last]) == 'PointHead' and last:
        notes.append(f'decode_head[{last}] (PointHead) stays: {_REFUSED["PointHead"]}')
        last -= 1
    place = _Place(probe, heads[:last], heads[last], f'decode_head[{last}]', notes)
    change = _swap_head(place, head, convs)
    swapped = [*heads[:last], applied(heads[last], change), *heads[last + 1 :]]
    _check_running(place, swapped[: last + 1])
    return swapped


def applied(node: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A node of a config with changes, as mmengine merges a child's into its base's."""
    merged: dict[str, Any] = Config._merge_a_into_b(copy.deepcopy(changes), copy.deepcopy(node))
    return merged


def check_refused(kind: str, path: str) -> None:
    """Makes sure that DDF has a place in a head.

    Raises:
        UsageError: it has none.
    """
    if kind in _REFUSED:
        raise UsageError(f'{path}: {kind} cannot be swapped: {_REFUSED[kind]}')


def _swap_head(place: _Place, head: bool, convs: bool) -> dict[str, Any]:
    kind, path = place.kind, place.path
    if kind.startswith('DDF'):
        raise UsageError(f'{path}: {kind} is a DDF head already')
    check_refused(kind, path)
    if kind == 'IterativeDecodeHead':
        key = 'kernel_generate_head'
        # K-Net's kernels are sums over the map's pixels: of more pixels they would be larger.
        inner = _Place(
            place.probe, place.before, place.cfg[key], f'{path}.{key}', place.notes, fixed_size=True
        )
        return {key: _swap_head(inner, head, convs)}
    change = {}
    if head:
        try:
            change = _change_of(place)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f'{path}: the original cannot be run here to see its levels ({kind}): '
                f'{in_a_line(error)}'
            ) from error
    if convs:
        change['conv_cfg'] = _swap_convs(applied(place.cfg, change), path, place.notes)
    return change


def _check_running(place: _Place, heads: Sequence[dict[str, Any]]) -> None:
    try:
        place.probe.run(heads)
    except Exception as error:
        raise UsageError(
            f'{place.path}: the swapped head does not run: {type(error).__name__}: {error}'
        ) from error


def _change_of(place: _Place) -> dict[str, Any]:
    """What becomes of a head; of the rules, the first that fits."""
    if ours := replacement_of(place.kind):
        return _as_class(place, ours)
    return _as_masks(place) if place.kind in MASK_HEADS else _as_guided(place)


def _as_class(place: _Place, ours: Found) -> dict[str, Any]:
    """For heads that DDF has a class of its own for: the same arguments, and the strides."""
    levels = place.probe.levels()
    wanted = ours.kind.wants_strides_of(place.cfg)
    strides = [_level(levels, index, place.path).stride for index in wanted]
    joined = f'joint DDF-Up between strides {in_words(strides)}' if len(set(strides)) > 1 else ''
    what = in_words([text for text in (ours.kind.brings, joined) if text])
    place.notes.append(f'{place.path}: {place.kind} -> {ours.name}: {what}')
    return {'type': ours.name, **strides_change(strides)}


def _level(levels: Sequence[Level | None], index: int, path: str) -> Level:
    level = levels[index] if -len(levels) <= index < len(levels) else None
    if level is None:
        raise UsageError(f'{path}: in_index {index} is no feature map of the backbone')
    return level


def _as_masks(place: _Place) -> dict[str, Any]:
    """For mask classification: refinement of the map that the masks are products with."""
    place.notes.append(
        f"{place.path}: {place.kind} -> DDFGuidedHead: DDF refines the pixel decoder's map, which "
        'the masks are computed from'
    )
    return dict(type='DDFGuidedHead', head=place.cfg['type'])


def _as_guided(place: _Place) -> dict[str, Any]:
    """For every other head: upsampling under the guidance of finer levels, or refinement."""
    path, kind, cfg = place.path, place.kind, place.cfg
    parent = MODELS.get(cfg['type'])
    if not (isinstance(parent, type) and issubclass(parent, BaseDecodeHead)):
        raise UsageError(f'{path}: {kind} cannot be swapped: it is not a BaseDecodeHead')
    levels = place.probe.levels()
    classified = place.probe.classified([*place.before, cfg])
    change: dict[str, Any] = dict(type='DDFGuidedHead', head=cfg['type'])
    guides = [] if place.fixed_size else _guides(levels, classified.stride)
    if not guides:
        why = (
            "K-Net's kernels are sums over its pixels, whose number has to stay"
            if place.fixed_size
            else f'no finer level of stride {FINEST_GUIDE} or more could guide an upsampling'
        )
        place.notes.append(
            f'{path}: {kind} -> DDFGuidedHead: DDF refines its feature map ({classified.channels} '
            f'channels, stride {classified.stride}); {why}'
        )
        return change
    strides = [*(level.stride for _, level in guides), classified.stride]
    indices = [index for index, _ in guides]
    place.notes.append(
        f'{path}: {kind} -> DDFGuidedHead: joint DDF-Up upsamples its feature map '
        f'({classified.channels} channels) from stride {classified.stride} to {strides[0]}, '
        f'guided by level{"s" * (len(guides) > 1)} {in_words(indices[::-1])}'
    )
    channels = [level.channels for _, level in guides]
    return {**change, 'guide_index': indices, 'guide_channels': channels, **strides_change(strides)}


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


def _swap_convs(cfg: dict[str, Any], path: str, notes: list[str]) -> dict[str, Any]:
    kind = kind_of(cfg)
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
