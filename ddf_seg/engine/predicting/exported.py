"""A network that tools/export.py wrote, run without torch and OpenMMLab."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ...command_line import say
from ...errors import UsageError
from ...runtime import Segmenter
from ..images.pictures import read_picture
from .backend import Prediction, Tiles, View, highest, make_tiles, segment_view
from .classes import Classes
from .memory import available_memory, check_scaled, needed_memory


class ExportedBackend:
    """An exported network, see `Backend`.

    A file of one size gets every image at that size: resized in proportion, and where its sides
    have another ratio, continued by its mirror image. In windows (`tiled`) images keep their size.

    Args:
        segmenter: runs the file.
        file: its name, for messages.
        scale: factor by which images are resized before.
        tiled: whether images are to be segmented in windows.
        batch_size: how many images it is to see together.

    Raises:
        UsageError: the network's form does not fit the arguments.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        file: str,
        scale: float = 1.0,
        tiled: bool = False,
        batch_size: int = 1,
    ) -> None:
        self._segmenter = segmenter
        self._file = file
        self._scale = scale
        batch, *size = self._segmenter.shape[:3]
        height, width = size
        self._size = None if height is None or width is None else (height, width)
        self._tiled = tiled
        if self._size and scale != 1 and not tiled:
            raise UsageError(f'--scale: {file} takes images of one size, which all are resized to')
        if batch is not None and batch_size > batch:
            raise UsageError(f'--batch-size {batch_size}: {file} takes {batch} at a time')
        self.classes = Classes(self._segmenter.classes, self._segmenter.palette)
        self.unusual: set[Path] = set()
        self._said = False

    def read(self, file: Path) -> np.ndarray:
        return read_picture(file)

    def convert(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def view(self, image: np.ndarray) -> View:
        height, width = image.shape[:2]
        scale = self._scale
        if self._size and not self._tiled:
            scale = min(self._size[0] / height, self._size[1] / width)
        check_scaled(height, width, scale)
        seen = (max(1, round(scale * height)), max(1, round(scale * width)))
        prepared = _resized(image, seen, cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)

        def scores(rows: slice, columns: slice) -> np.ndarray:
            window = prepared[rows, columns]
            (found,) = self._run(self._filled(window)[None])
            if found.ndim == 2:
                # Class ids: as scores of 0 and 1, they are a vote.
                classes = np.arange(len(self.classes.names))
                found = (found == classes[:, None, None]).astype(np.float32)
            return found[:, : window.shape[0], : window.shape[1]]

        divisor = 1 if self._size else self._segmenter.size_divisor
        return View((height, width), seen, divisor, scores, highest, prepared)

    def segment(self, views: Sequence[View], doubt: bool) -> Sequence[Prediction]:
        batch = np.stack([self._filled(view.prepared) for view in views])
        found = self._run(batch)
        pairs = zip(found, views, strict=True)
        return [self._at_size(each, view, doubt) for each, view in pairs]

    def check_doubt(self) -> None:
        if not self._segmenter.gives_scores:
            raise UsageError(
                f'--show doubt: {self._file} gives class ids alone; export it with --output scores'
            )

    def check_size(self, view: View, file: Path) -> None:
        if self._size in (None, view.image_size) or self._tiled or self._said:
            return
        self._said = True
        (height, width), (own_height, own_width) = view.image_size, self._size
        say(
            f'note: {file} has {width}×{height} pixels, and {self._file} takes {own_width}×'
            f'{own_height}: images are resized to that, and their class ids back. --tile segments '
            'them in windows as they are; a file of free sizes takes them whole'
        )

    def tiles(self, size: Sequence[int] | None, overlap: int | None) -> Tiles:
        if self._size is None:
            return make_tiles(size or (), overlap)
        if size and (*size, *size)[:2] != self._size:
            raise UsageError(
                f'--tile {" ".join(map(str, size))}: {self._file} takes {self._size[0]} '
                f'{self._size[1]} (height, width) alone. Give --tile without a size'
            )
        return make_tiles(self._size, overlap)

    def memory(self, view: View, number: int) -> tuple[int, int]:
        needed = 0 if self._size else needed_memory(*view.size, len(self.classes.names))
        return needed * self._places(number), available_memory()

    def _places(self, images: int) -> int:
        """How many images the network sees where it is to see some."""
        return self._segmenter.shape[0] or images

    def _run(self, images: np.ndarray) -> np.ndarray:
        """Class ids or scores of some images."""
        # Of a file that takes more, the last image fills the places.
        more = images[-1:].repeat(self._places(len(images)) - len(images), 0)
        found = self._segmenter(np.concatenate([images, more]))[: len(images)]
        if self._segmenter.gives_scores and found.shape[-3] == 1:
            raise UsageError(
                f'{self._file} gives one score a pixel, and does not say from which on it is the '
                'second class; export class ids'
            )
        if self._segmenter.output != 'probabilities':
            return found
        return np.log(np.maximum(found, np.finfo(np.float32).tiny))  # softmax gives them back

    def _filled(self, image: np.ndarray) -> np.ndarray:
        """An image that is smaller than the network takes, continued by its mirror image."""
        least = self._segmenter.least_size
        size = self._size or [max(side, least) for side in image.shape[:2]]
        below, right = (n - own for n, own in zip(size, image.shape, strict=False))
        if below == right == 0:
            return image
        return cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT)

    def _at_size(self, found: np.ndarray, view: View, doubt: bool) -> Prediction:
        """A prediction at the image's size, of what the network says of a view."""
        height, width = view.size
        found = found[..., :height, :width]
        if found.ndim == 3:
            return segment_view(replace(view, scores=lambda *_: found), None, doubt)
        if found.dtype != np.uint8:
            found = found.astype(np.uint16)
        return Prediction(_resized(found, view.image_size, cv2.INTER_NEAREST_EXACT))


def _resized(image: np.ndarray, size: tuple[int, int], how: int) -> np.ndarray:
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=how)
