"""The images and videos that a tool is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from pathlib import Path

import cv2
import mmcv
import numpy as np

from .errors import UsageError

IMAGES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'})
VIDEOS = frozenset({'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'})


class UnreadableError(Exception):
    """An input that cannot be read, which the others need not suffer for."""


def find_inputs(source: Path, suffixes: Set[str]) -> dict[Path, Path]:
    """Every input with the path of its results below the output's folders, without suffix.

    Args:
        source: a file, whatever its suffix, or a folder.
        suffixes: of the files to take from a folder.

    Raises:
        UsageError: if there is nothing there.
    """
    if source.is_file():
        return {source: Path(source.stem)}
    if not source.exists():
        raise UsageError(f'INPUT {source} does not exist')
    files = sorted(file for file in source.rglob('*') if file.suffix.lower() in suffixes)
    if not files:
        kinds = 'image or video' if suffixes & VIDEOS else 'image'
        raise UsageError(f'INPUT {source} holds no {kinds} ({" ".join(sorted(suffixes))})')
    names = [file.relative_to(source) for file in files]
    stems = Counter(name.with_suffix('') for name in names)
    # a.jpg and a.png must not overwrite each other's results.
    return {
        file: name.with_suffix('') if stems[name.with_suffix('')] == 1 else name
        for file, name in zip(files, names, strict=True)
    }


def read_image(file: Path) -> np.ndarray:
    """The image, (H, W, 3) uint8, BGR.

    Raises:
        UnreadableError: if it cannot be opened or decoded.
    """
    try:
        image = mmcv.imread(file)
    except cv2.error:
        image = None
    except OSError as error:
        raise UnreadableError(str(error)) from error
    if image is None:
        raise UnreadableError('not an image that OpenCV can decode')
    return image
