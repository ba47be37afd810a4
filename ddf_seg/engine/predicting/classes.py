"""Names and colours of a network's classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Classes:
    """The classes of a network.

    Attributes:
        names: one a class.
        palette: their colours, (classes, 3) uint8, RGB.
        note: what a user should know where names or colours had to be made up; otherwise empty.
    """

    names: list[str]
    palette: np.ndarray
    note: str = ''


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
