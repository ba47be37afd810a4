"""Reads one pair of files and tells what is in it. Runs in processes of its own."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from .splits import Pair


@dataclass
class Record:
    """What a pair of files holds.

    Args:
        image_error: Why the image cannot be read.
        label_error: Why the label cannot be read.
        image_size: Width and height.
        label_size: Width and height.
        label_mode: Pillow's mode of the label: L, P, RGB, I;16 …
        digest: Of the decoded image: equal for the same pixels in another file or compression.
        pixels: How many pixels of the label have each id.
    """

    image_error: str = ''
    label_error: str = ''
    image_size: tuple[int, int] | None = None
    label_size: tuple[int, int] | None = None
    label_mode: str = ''
    digest: str = ''
    pixels: dict[int, int] = field(default_factory=dict)


def scan(pair: Pair) -> Record:
    """Decode both files of a pair, whole: a truncated one shows only then."""
    record = Record()
    try:
        image = _read(pair.image)
    except (OSError, SyntaxError, ValueError) as error:
        record.image_error = _explain(pair.image, error)
    else:
        record.image_size = image.size
        content = hashlib.blake2b(repr((image.size, image.mode)).encode(), digest_size=16)
        content.update(image.tobytes())
        record.digest = content.hexdigest()
    if pair.label is None or '://' in pair.label:
        return record
    try:
        label = _read(pair.label)
    except (OSError, SyntaxError, ValueError) as error:
        record.label_error = _explain(pair.label, error)
        return record
    record.label_size, record.label_mode = label.size, label.mode
    ids = np.asarray(label)
    if ids.ndim == 2:
        record.pixels = _count(ids)
    return record


def _read(path: str) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


def _explain(path: str, error: Exception) -> str:
    if not os.path.exists(path):
        return 'missing'
    if not Path(path).stat().st_size:
        return 'empty file'
    return str(error).replace(path, '').strip(" '") or type(error).__name__


def _count(ids: np.ndarray) -> dict[int, int]:
    if ids.dtype in (np.uint8, np.uint16, bool):
        counts = np.bincount(ids.ravel())
        found = counts.nonzero()[0]
        return dict(zip(found.tolist(), counts[found].tolist(), strict=True))
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
