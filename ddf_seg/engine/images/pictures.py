"""Image files without a config: how OpenCV reads them, why one is none, how an array is shown.

Needs no OpenMMLab, no torch and no Pillow.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np


class UnreadableError(Exception):
    """An input that cannot be read; work on the others goes on."""


def why_unreadable(path: str, error: Exception | None = None) -> str:
    """Why a file is no image that can be decoded, without its name.

    Args:
        path: the file.
        error: what its decoder raised; None: it only said that it cannot.
    """
    if not os.path.lexists(path):
        return 'missing'
    if not os.path.exists(path):
        return f'a link to {os.readlink(path)}, which is missing'
    if os.path.isdir(path):
        return 'a folder'
    if not os.path.getsize(path):
        return 'empty file'
    if is_memory_error(error):
        return 'too large for the memory'
    if error is None or isinstance(error, (AssertionError, cv2.error)):
        detail = getattr(error, 'err', '')
        what = 'damaged, cut off, or no image: OpenCV cannot decode it'
        return f'{what} ({detail})' if detail else what
    # Pillow's, which need not be there
    if type(error).__name__ == 'UnidentifiedImageError':
        return 'no image, or its beginning is damaged: Pillow does not know it'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).replace(path, '').strip(" '") or type(error).__name__


def is_memory_error(error: Exception | None) -> bool:
    """Whether memory ran out, in Python or in OpenCV."""
    no_memory = isinstance(error, cv2.error) and getattr(error, 'code', 0) == cv2.Error.StsNoMem
    return no_memory or isinstance(error, MemoryError)


def read_picture(file: Path) -> np.ndarray:
    """An image file as most configs read it: (H, W, 3) uint8, BGR, turned as its EXIF data say.

    Raises:
        UnreadableError: it cannot be opened or decoded.
        MemoryError: it does not fit.
    """
    path = str(file)
    try:
        # OpenCV crashes on a name that is not UTF-8.
        image = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError) as error:
        if is_memory_error(error):
            raise MemoryError(str(error)) from error
        raise UnreadableError(why_unreadable(path, error)) from error
    if image is None:
        raise UnreadableError(why_unreadable(path))
    return image


def to_picture(image: np.ndarray) -> np.ndarray:
    """An image as it can be shown, (H, W, 3) uint8, BGR.

    Args:
        image: (H, W) or (H, W, channels), of any number type; of more than three channels the first
            three are shown, of two one.
    """
    if image.dtype == np.uint16:
        image = image >> 8
    if image.dtype != np.uint8:
        image = np.clip(image, 0, 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] < 3:
        image = image[..., :1].repeat(3, 2)
    return np.ascontiguousarray(image[..., :3])
