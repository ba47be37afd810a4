"""How datasets encode labels: ids (grey or palette PNG), colours, polygons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .class_tables import IGNORE

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile


def read_ids(path: Path) -> np.ndarray:
    """The ids in a label image, (H, W); of a palette PNG, the indices.

    Raises:
        ValueError: the image has several channels, or is damaged.
    """
    mode, ids = _read(path)
    if ids.ndim != 2:
        raise ValueError(f'{path}: expected one channel of ids, got {mode} {ids.shape}')
    return ids


def _read(path: Path) -> tuple[str, np.ndarray]:
    """Pillow's mode of an image, and its pixels."""
    # Imported where it is used: who only writes PNGs needs no Pillow.
    from PIL import Image

    try:
        with Image.open(path) as image:
            if loses_bits(image):
                raise ValueError(f'{path}: expected 8 bits a channel, got 16')
            return image.mode, np.asarray(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f'{path}: {error}') from error


def loses_bits(image: ImageFile) -> bool:
    """Whether a PNG or TIFF has 16 bits a channel of which Pillow keeps the upper 8: ids become 0.

    It keeps all of them where there is one channel.

    Args:
        image: just opened; once its pixels are loaded, nothing tells any more.
    """
    if image.mode.startswith('I'):
        return False
    return any(';16' in str(tile[3]) for tile in image.tile)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it is missing.
        ValueError: it is no JSON, or cut off.
    """
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'{path}: no JSON, or not all of it: {error}') from error


def map_ids(path: Path, indices: np.ndarray) -> np.ndarray:
    """The label (H, W) uint8 of a file of ids.

    Args:
        path: the file.
        indices: (256,) uint8, the index of each id.

    Raises:
        ValueError: the file is no image of ids up to 255.
    """
    ids = read_ids(path)
    if ids.size and ids.max() >= len(indices):
        raise ValueError(f'{path}: expected ids up to {len(indices) - 1}, got {ids.max()}')
    return indices[ids]


def colours_to_ids(path: Path, colours: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    """The label (H, W) uint8 of a file of colours.

    Args:
        path: an RGB image.
        colours: the index of each colour (red, green, blue).

    Raises:
        ValueError: the file is no RGB image, or has a colour that is not in the table.
    """
    mode, pixels = _read(path)
    if mode != 'RGB':
        raise ValueError(f'{path}: expected RGB colours, got mode {mode}')
    return index_colours(pixels, colours, path)


def index_colours(
    pixels: np.ndarray, colours: Mapping[tuple[int, int, int], int], path: Path
) -> np.ndarray:
    """The label (H, W) uint8 of colours (H, W, 3).

    Args:
        pixels: RGB, uint8.
        colours: the index of each colour (red, green, blue).
        path: where the colours are from, for the message.

    Raises:
        ValueError: a colour is not in the table.
    """
    packed = pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    known = np.array([(r << 16) | (g << 8) | b for r, g, b in colours])
    order = np.argsort(known)
    places = np.searchsorted(known[order], packed).clip(max=len(known) - 1)
    foreign = packed != known[order][places]
    if foreign.any():
        red, green, blue = pixels[foreign][0].tolist()
        raise ValueError(
            f'{path}: {int(foreign.sum())} pixels have a colour that is no class, the first is '
            f'({red}, {green}, {blue})'
        )
    return np.array(list(colours.values()), np.uint8)[order][places]


def draw_polygons(path: Path, indices: Mapping[str, int]) -> np.ndarray:
    """The label (H, W) uint8 of polygons in Cityscapes' JSON, painted in the file's order.

    As the scripts of Cityscapes and IDD paint: with Pillow, deleted objects left out, '…group'
    standing for the class itself where it has no entry of its own.

    Args:
        path: the JSON file.
        indices: the index of each label's name.

    Raises:
        ValueError: the file cannot be read or names an unknown label.
    """
    content = read_json(path)
    try:
        size, objects = (content['imgWidth'], content['imgHeight']), content['objects']
    except (TypeError, KeyError) as error:
        raise ValueError(f'{path}: not a file of polygons: {error!r}') from error
    from PIL import Image, ImageDraw

    image = Image.new('L', size, IGNORE)
    drawer = ImageDraw.Draw(image)
    for item in objects:
        name = item['label']
        if name not in indices:
            name = name.removesuffix('group')
        if name not in indices:
            raise ValueError(f'{path}: unknown label {item["label"]!r}')
        polygon = [tuple(point) for point in item['polygon']]
        if not item.get('deleted') and len(polygon) > 1:
            drawer.polygon(polygon, fill=indices[name])
    return np.asarray(image)
