"""Folders of drawn scenes, laid out as people lay them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from road_scenes import CLASSES, PALETTE

NUMBER, SIZE = 6, (96, 128)
Write = Callable[[Path, int, np.ndarray, np.ndarray], None]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)


def save_palette(path: Path, ids: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids).convert('P')
    image.putpalette([part for colour in PALETTE for part in colour])
    image.save(path)


def coloured(ids: np.ndarray) -> np.ndarray:
    """BGR, as OpenCV writes it; 255 is black."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(PALETTE)] = PALETTE
    return table[ids][..., ::-1]


def write_class_table(file: Path) -> None:
    rows = [f'{n} {r} {g} {b}' for n, (r, g, b) in zip(CLASSES, PALETTE, strict=True)]
    file.write_text('\n'.join([*rows, 'void 0 0 0']))


def folders(root: Path, number: int, image: np.ndarray, ids: np.ndarray) -> None:
    save(root / f'images/{number}.jpg', image)
    save(root / f'masks/{number}.png', ids)


def _coloured(root: Path, number: int, image: np.ndarray, ids: np.ndarray) -> None:
    split = 'train' if number < 4 else 'val'
    save(root / f'{split}/street_{number}.png', image)
    save(root / f'{split}_labels/street_{number}_L.png', coloured(ids))
    write_class_table(root / 'classes.txt')


def _beside(root: Path, number: int, image: np.ndarray, ids: np.ndarray) -> None:
    save(root / f'street-{number}.JPG', image)
    save(root / f'street-{number}_mask.png', np.dstack([ids] * 3))


def _cityscapes(root: Path, number: int, image: np.ndarray, ids: np.ndarray) -> None:
    split = 'train' if number < 4 else 'val'
    name = f'{split}/town/town_{number:06d}'
    save(root / f'leftImg8bit/{name}_leftImg8bit.png', image)
    save(root / f'gtFine/{name}_gtFine_labelTrainIds.png', ids)


def _voc(root: Path, number: int, image: np.ndarray, ids: np.ndarray) -> None:
    save(root / f'JPEGImages/2007_{number:06d}.jpg', image)
    save_palette(root / f'SegmentationClass/2007_{number:06d}.png', ids)


LAYOUTS: dict[str, Write] = {
    'folders': folders,
    'coloured': _coloured,
    'beside': _beside,
    'cityscapes': _cityscapes,
    'voc': _voc,
}
