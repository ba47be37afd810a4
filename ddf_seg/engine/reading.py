"""Reading images as a config does, and videos."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS

_UNDECODABLE = 'not an image that can be decoded: cut short, damaged, or another kind of file'


class UnreadableError(Exception):
    """An input that cannot be read; work on the others goes on."""


class ImageReader:
    """Reads image files as a config's pipeline does, which decides on colours and orientation.

    Args:
        step: The first of the pipeline, built or not, e.g. `dict(type='LoadImageFromFile')`.
    """

    def __init__(self, step: Any) -> None:
        self._load = TRANSFORMS.build(dict(step)) if isinstance(step, Mapping) else step

    def __call__(self, file: Path) -> np.ndarray:
        """The image, (H, W) or (H, W, channels), as the pipeline's next steps get it.

        Raises:
            UnreadableError: If it cannot be opened or decoded.
            MemoryError: If it does not fit.
        """
        try:
            # OpenCV crashes on a name that is not UTF-8: mmcv gives it bytes.
            results = self._load(dict(img_path=str(file)))
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:
                raise MemoryError(error.err) from error
            raise UnreadableError(f'{_UNDECODABLE} ({error.err})') from error
        except OSError as error:
            # Pillow's UnidentifiedImageError is one without a number, and names a buffer.
            raise UnreadableError(error.strerror or _UNDECODABLE) from error
        except AssertionError as error:
            raise UnreadableError(_UNDECODABLE) from error
        if results is None:
            # The config says ignore_empty.
            raise UnreadableError(_UNDECODABLE)
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


@contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """Another name of a file, which need not be there yet: one that is ASCII, for OpenCV's videos.

    OpenCV crashes on names that are not UTF-8.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f'video{path.suffix.lower()}')
        os.symlink(path.absolute(), link)
        yield link
