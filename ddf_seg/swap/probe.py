"""Channels and strides of the maps that a segmentor's backbone, neck and heads pass on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..engine.lookup.configs import walk

# Sides of the square images, the smallest first: a few heads pool by a fixed window.
SIDES = (128, 256, 512)


@dataclass(frozen=True)
class Level:
    """A feature map: its channels, and how many pixels of the image one of its pixels spans."""

    channels: int
    stride: int


def without_pretrained(model: dict[str, Any]) -> dict[str, Any]:
    """A copy of a config that asks for no weights from elsewhere."""
    model = copy.deepcopy(model)
    for _, node in walk(model):
        if node.get('pretrained') is not None:
            node['pretrained'] = None
        initialisations = node.get('init_cfg')
        if isinstance(initialisations, dict):
            initialisations = [initialisations]
        kept = [init for init in initialisations or () if init.get('type') != 'Pretrained']
        if initialisations and len(kept) < len(initialisations):
            node['init_cfg'] = kept or None
    return model


def for_size(model: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """A copy of a config for images of another size (BEiT and MAE are made for one)."""
    model = copy.deepcopy(model)
    if model.get('backbone', {}).get('img_size') is not None:
        model['backbone']['img_size'] = size
    return model


class Probe:
    """Runs backbone, neck and heads of a config on random weights, without anything pretrained.

    Args:
        model: config of a segmentor.

    Raises:
        Exception: whatever building or running it raises.
    """

    def __init__(self, model: dict[str, Any]) -> None:
        self._model = without_pretrained(model)
        self._inputs: dict[int, Any] = {}

    @torch.no_grad()
    def inputs(self, side: int) -> Any:
        """What the heads are given for a square image of this side."""
        if side not in self._inputs:
            model = for_size(self._model, (side, side))
            x: Any = torch.randn(1, model['backbone'].get('in_channels', 3), side, side)
            for part in ('backbone', 'neck'):
                if model.get(part) is not None:
                    x = build(model[part])(x)
            self._inputs[side] = x
        return self._inputs[side]

    def levels(self) -> list[Level | None]:
        """The levels that the heads are given; none where a backbone gives a single map."""
        return levels(self.inputs(SIDES[0]), SIDES[0])

    @torch.no_grad()
    def classified(self, heads: Sequence[dict[str, Any]]) -> Level:
        """The map that the last of some heads classifies, each given the scores of the one before.

        Raises:
            ValueError: it does not classify a map.
        """
        built = [build(head) for head in heads]
        for side in SIDES:
            try:
                with _record_classified(built[-1]) as maps:
                    out: tuple[Any, ...] = ()
                    for head in built:
                        out = (head(self.inputs(side), *out),)
                break
            except RuntimeError:
                if side == SIDES[-1]:
                    raise
        if not maps:
            raise ValueError(f'{heads[-1]["type"]} does not classify a feature map')
        return level_of(maps[-1], side)

    @torch.no_grad()
    def run(self, heads: Sequence[dict[str, Any]]) -> None:
        """Runs heads, each given the scores of the one before; mmdet's are only built."""
        out: tuple[Any, ...] = ()
        side = max(self._inputs, default=SIDES[0])
        for head in map(build, heads):
            if isinstance(head, BaseDecodeHead):
                out = (head(self.inputs(side), *out),)


def build(part: dict[str, Any]) -> nn.Module:
    """A part of a segmentor, to be run on one image."""
    with warnings.catch_warnings():
        # mmseg's heads warn of mmseg's own ways to build losses.
        warnings.simplefilter('ignore')
        module: nn.Module = MODELS.build(ConfigDict({'_scope_': 'mmseg', **part}))
    module = revert_sync_batchnorm(module)
    # Not chained: the train() of mmseg's ResNet returns nothing.
    module.eval()
    return module


def levels(maps: Any, side: int) -> list[Level | None]:
    """The levels of a backbone's output for an image of this side; None where there is no map."""
    if isinstance(maps, Tensor):
        return []
    # Transformers may hand on (map, class token).
    return [
        level_of(x, side) if isinstance(x, Tensor) and x.dim() == 4 else None
        for x in (x[0] if isinstance(x, (list, tuple)) else x for x in maps)
    ]


def level_of(x: Tensor, side: int) -> Level:
    return Level(x.shape[1], round(side / x.shape[3]))


@contextmanager
def _record_classified(head: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a head passes to its `cls_seg`."""
    owner: Any = head
    classify = owner.cls_seg
    maps: list[Tensor] = []

    def record(x: Tensor) -> Tensor:
        maps.append(x)
        scores: Tensor = classify(x)
        return scores

    owner.cls_seg = record
    try:
        yield maps
    finally:
        del owner.cls_seg
