"""Reading images as a config does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmseg.registry import TRANSFORMS

from .pictures import UnreadableError, is_memory_error, why_unreadable


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
