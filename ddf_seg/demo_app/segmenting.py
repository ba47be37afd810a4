"""What the page shows of an image: classes, and the filters that its pixels got."""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..engine.images.headers import read_header
from ..engine.images.pictures import to_picture
from ..engine.images.reading import UnreadableError, why_unreadable
from ..engine.predicting.drawing import Drawing
from ..engine.predicting.pytorch import PyTorchBackend
from ..visualization import inspect_image
from ..visualization.explorer import build_page

# An image is decoded whole: a file of a few kilobytes may hold gigabytes of pixels.
MOST_PIXELS = 64_000_000


@dataclass
class Shown:
    """An image and its prediction.

    Attributes:
        name: the file's, as its owner calls it.
        image: as the network's reader reads it, no longer than `Demo.max_size`.
        ids: class ids (H, W).
        overlay: (H, W, 3) uint8, BGR.
        page: of the filters, once it was asked for.
    """

    name: str
    image: np.ndarray
    ids: np.ndarray
    overlay: np.ndarray
    page: str = ''


class Demo:
    """Segments images, and keeps the last ones to show more of them.

    Args:
        backend: the network.
        drawing: how a prediction is drawn.
        max_size: images whose longer side has more pixels are shrunk to it first.
        kept: how many images to keep.
    """

    def __init__(
        self, backend: PyTorchBackend, drawing: Drawing, max_size: int = 640, kept: int = 16
    ) -> None:
        self.backend = backend
        self.drawing = drawing
        self.max_size = max_size
        self.kept = kept
        self.shown: OrderedDict[str, Shown] = OrderedDict()

    def segment(self, content: bytes, name: str) -> tuple[str, Shown]:
        """Segments an image file's content; returns what is shown of it, and under which key.

        Raises:
            UnreadableError: it cannot be decoded, or is too large.
        """
        image = self._read(content)
        scale = self.max_size / max(image.shape[:2])
        if scale < 1:
            size = tuple(max(1, round(scale * n)) for n in image.shape[1::-1])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        view = self.backend.view(image)
        (prediction,) = self.backend.segment([view], False)
        overlay = self.drawing(to_picture(image), *prediction)
        key = secrets.token_urlsafe(12)
        shown = self.shown[key] = Shown(name, image, prediction.ids, overlay)
        while len(self.shown) > self.kept:
            self.shown.popitem(last=False)
        return key, shown

    def _read(self, content: bytes) -> np.ndarray:
        with tempfile.NamedTemporaryFile(prefix='ddf_seg-') as file:
            file.write(content)
            file.flush()
            try:
                width, height = read_header(file.name).size
            except Exception as error:  # Pillow's decoders have errors of many kinds
                raise UnreadableError(why_unreadable(file.name, error)) from error
            if width * height > MOST_PIXELS:
                raise UnreadableError(
                    f'{width}×{height} pixels are too many: expected {MOST_PIXELS:,} at most'
                )
            return self.backend.read(Path(file.name))

    def describe(self, shown: Shown) -> dict[str, Any]:
        """What is shown of an image, for JSON: size and classes with their shares of the pixels."""
        classes = self.backend.classes
        counts = np.bincount(shown.ids.ravel(), minlength=len(classes.names))
        found = [
            dict(
                id=int(index),
                name=classes.names[index],
                colour=classes.palette[index].tolist(),
                share=float(counts[index] / shown.ids.size),
            )
            for index in np.argsort(-counts, kind='stable')
            if counts[index]
        ]
        height, width = shown.ids.shape
        return dict(name=shown.name, width=width, height=height, classes=found)

    def filters(self, shown: Shown) -> str:
        """The page to explore an image's filters, as HTML.

        Raises:
            MissingLayerError: the network has no dynamic filters.
            UsageError: it has too many classes for the page.
        """
        if not shown.page:
            model = self.backend.model
            inspection = inspect_image(model, shown.image, self.backend.classes)
            shown.page = build_page([[inspection]], f'Filters on {shown.name}', [shown.name])
        return shown.page
