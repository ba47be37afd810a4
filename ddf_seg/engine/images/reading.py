"""Reading images as a config does, and why one cannot be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS
from PIL import UnidentifiedImageError


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
    if isinstance(error, UnidentifiedImageError):
        return 'no image, or its beginning is damaged: Pillow does not know it'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).replace(path, '').strip(" '") or type(error).__name__


def is_memory_error(error: Exception | None) -> bool:
    """Whether memory ran out, in Python or in OpenCV."""
    no_memory = isinstance(error, cv2.error) and getattr(error, 'code', 0) == cv2.Error.StsNoMem
    return no_memory or isinstance(error, MemoryError)


class ImageReader:
    """Reads image files as a config's pipeline does, which decides on colours and orientation.

    Args:
        step: the first of the pipeline, built or not, e.g. `dict(type='LoadImageFromFile')`.
    """

    def __init__(self, step: Any) -> None:
        self._load = TRANSFORMS.build(dict(step)) if isinstance(step, Mapping) else step

    def __call__(self, file: Path) -> np.ndarray:
        """The image, (H, W) or (H, W, channels), as the pipeline's next steps get it.

        Raises:
            UnreadableError: it cannot be opened or decoded.
            MemoryError: it does not fit.
        """
        path = str(file)
        try:
            # OpenCV crashes on a name that is not UTF-8: mmcv gives it bytes.
            results = self._load(dict(img_path=path))
        except (cv2.error, OSError, AssertionError) as error:
            if is_memory_error(error):
                raise MemoryError(str(error)) from error
            raise UnreadableError(why_unreadable(path, error)) from error
        if results is None:
            # The config says ignore_empty.
            raise UnreadableError(why_unreadable(path))
        image: np.ndarray = results['img']
        return image

    def convert(self, frame: np.ndarray) -> np.ndarray:
        """A frame of a video, (H, W, 3) uint8, BGR, as `__call__` would give it as an image."""
        if str(getattr(self._load, 'color_type', '')).startswith('grayscale'):
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
        return frame.astype(np.float32) if getattr(self._load, 'to_float32', False) else frame


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
