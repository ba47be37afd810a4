"""Names and colours of a segmentor's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS

from ..lookup.configs import walk


@dataclass
class Classes:
    """The classes of a segmentor.

    Attributes:
        names: one a class.
        palette: their colours, (classes, 3) uint8, RGB.
        note: what a user should know where names or colours had to be made up; otherwise empty.
    """

    names: list[str]
    palette: np.ndarray
    note: str = ''


def find_classes(meta: dict[str, Any], cfg: Config, number: int) -> Classes:
    """Names and colours of the classes: of the checkpoint, else of the config's dataset.

    Args:
        meta: the checkpoint's `meta`.
        cfg: the config.
        number: how many classes the segmentor has.
    """
    sources = {'checkpoint': meta.get('dataset_meta') or {}}
    # Before mmseg 1.0
    if 'CLASSES' in meta:
        sources['checkpoint'] = {'classes': meta['CLASSES'], 'palette': meta.get('PALETTE')}
    for _, node in walk(cfg.get('test_dataloader')):
        if 'data_prefix' in node or 'data_root' in node:
            dataset = DATASETS.get(node['type'])
            known = getattr(dataset, 'METAINFO', {})
            sources.setdefault('config', {**known, **(node.get('metainfo') or {})})
    found = [source for source in sources.values() if len(source.get('classes') or ()) == number]
    return make_classes(found[0] if found else {}, number)


def make_classes(meta: dict[str, Any], number: int) -> Classes:
    """The classes that a dataset's metainfo names; numbers and made-up colours where it does not.

    Args:
        meta: `classes` and `palette`, if known.
        number: how many classes there are.
    """
    note = ''
    if len(meta.get('classes') or ()) != number:
        meta = {'classes': [str(index) for index in range(number)]}
        note = (
            f'neither checkpoint nor config name {number} classes: they are numbered, and their '
            'colours made up'
        )
    palette = meta.get('palette')
    if palette is None or len(palette) != number:
        palette = np.random.default_rng(0).integers(0, 256, (number, 3))
        note = note or 'neither checkpoint nor config give the classes colours: they are made up'
    return Classes(list(meta['classes']), np.asarray(palette, np.uint8), note)
