"""Runs a segmentor on an image and keeps the image, the prediction and the filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmseg.apis import inference_model
from torch import nn

from ..engine.images.pictures import to_picture
from ..engine.predicting.classes import Classes
from ..engine.predicting.drawing import entropy_of
from .calls import FilterCall
from .capture import capture_filters


@dataclass
class Inspection:
    """A segmentor's run on an image.

    Attributes:
        title: what the network is called in pictures.
        image: (H, W, 3) uint8, RGB.
        prediction: class ids, (H, W) int64.
        truth: class ids, (H, W) int64, −1 where there is no class; None: not known.
        classes: names and colours.
        calls: the DDF calls, in the order of the network.
        scale: pixels of the network's input per pixel of the image, (down, across).
        input_size: pixels of the network's input, padding included.
        doubt: entropy of the class probabilities, 0 (sure) to 1, (H, W) float32; None: not known.
    """

    title: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None
    classes: Classes
    calls: list[FilterCall]
    scale: tuple[float, float]
    input_size: tuple[int, int]
    doubt: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.prediction.shape[0], self.prediction.shape[1]

    def call(self, layer: str) -> FilterCall:
        return next(call for call in self.calls if call.layer == layer)

    def density(self, size: Sequence[int]) -> tuple[float, float]:
        """Pixels of a map of this size per pixel of the image, (down, across)."""
        down, across = (
            scale * n / whole
            for scale, n, whole in zip(self.scale, size, self.input_size, strict=True)
        )
        return down, across

    def extent(self, call: FilterCall | None = None) -> tuple[float, float, float, float]:
        """What a map of a call's filters covers, in pixels of the image: left, right, bottom, top.

        Without a call: the image itself. A padded input makes maps that reach beyond it.
        """
        height, width = map(float, self.size)
        if call is not None:
            (height, width) = (
                n / density for n, density in zip(call.size, self.density(call.size), strict=True)
            )
        return 0.0, width, height, 0.0

    def pixel(self, call: FilterCall, x: int, y: int) -> tuple[int, int]:
        """The pixel (y, x) of a call's filters that lies under a pixel of the image."""
        rows, columns = self._indices(call)
        return int(rows[y]), int(columns[x])

    def _indices(self, call: FilterCall) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) * density).astype(int), most - 1)
            for n, density, most in zip(self.size, self.density(call.size), call.size, strict=True)
        )
        return rows, columns

    def image_pixels(self, call: FilterCall) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of the image at the centres of the pixels of a call's filters."""
        rows, columns = (
            np.minimum(((np.arange(n) + 0.5) / density).astype(int), most - 1)
            for n, density, most in zip(call.size, self.density(call.size), self.size, strict=True)
        )
        return rows, columns

    def labels(self, call: FilterCall, labels: np.ndarray) -> torch.Tensor:
        """Labels (H, W) of the image at the pixels of a call's filters, (H', W')."""
        rows, columns = self.image_pixels(call)
        return torch.from_numpy(labels[rows][:, columns])

    def reach(self, call: FilterCall, y: int, x: int) -> tuple[float, float, float, float]:
        """What the taps of the filter at (y, x) cover of the image: left, top, right, bottom."""
        density = self.density(call.features.shape[2:])
        ends = []
        for centre, kernel, dilation, n in zip(
            call.centre(y, x), call.kernel_size, call.dilation, density, strict=True
        ):
            half = kernel // 2 * dilation
            ends.append(((centre - half) / n, (centre + half + 1) / n))
        (top, bottom), (left, right) = ends
        return left, top, right, bottom


@contextmanager
def _whole(model: Any) -> Iterator[None]:
    """Has the segmentor see the image as a whole: windows would have filters of their own."""
    cfg = getattr(model, 'test_cfg', None) or {}
    mode = cfg.get('mode')
    if mode != 'slide':
        yield
        return
    cfg['mode'] = 'whole'
    try:
        yield
    finally:
        cfg['mode'] = mode


def _inspection(
    sample: Any,
    calls: list[FilterCall],
    image: np.ndarray,
    classes: Classes,
    title: str,
    truth: np.ndarray | None,
) -> Inspection:
    meta = sample.metainfo
    height, width = meta['img_shape'][:2]
    _, right, _, bottom = meta.get('img_padding_size', (0, 0, 0, 0))
    prediction = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.int64)
    if truth is not None:
        truth = truth.astype(np.int64)
        truth = np.where(truth < len(classes.names), truth, -1)
    scale = (height / prediction.shape[0], width / prediction.shape[1])
    size = (height + bottom, width + right)
    doubt = (
        entropy_of(sample.seg_logits.data.float().cpu().numpy()) if 'seg_logits' in sample else None
    )
    return Inspection(title, image, prediction, truth, classes, calls, scale, size, doubt)


def inspect_image(
    model: nn.Module,
    image: np.ndarray,
    classes: Classes,
    layers: Sequence[str] | None = None,
    title: str = '',
    truth: np.ndarray | None = None,
) -> Inspection:
    """Runs a segmentor on a whole image, even if its config says to divide it into windows.

    Args:
        model: as mmseg's `init_model` returns it.
        image: (H, W, 3) uint8, BGR as OpenCV reads it, or as `ImageReader` reads it for a config.
        classes: see `ddf_seg.engine.predicting.classes.find_classes`.
        layers: see `capture_filters`.
        title: what to call the network in pictures.
        truth: class ids (H, W); what is no class counts as unknown.

    Raises:
        ValueError: see `capture_filters`.
    """
    with _whole(model), capture_filters(model, layers) as calls:
        sample = inference_model(model, image)
    rgb = to_picture(image)[..., ::-1]
    return _inspection(sample, calls, rgb, classes, title, truth)


def inspect_batch(
    model: nn.Module,
    batch: dict[str, Any],
    image: np.ndarray,
    classes: Classes,
    layers: Sequence[str] | None = None,
    title: str = '',
) -> Inspection:
    """As `inspect_image`, for one image from a dataloader, whose labels are the truth.

    Args:
        batch: `inputs` and `data_samples` of one image.
        image: the image file's, as for `inspect_image`.
    """
    labels = batch['data_samples'][0]
    truth = labels.gt_sem_seg.data[0].cpu().numpy() if 'gt_sem_seg' in labels else None
    with torch.no_grad(), _whole(model), capture_filters(model, layers) as calls:
        sample = model.test_step(batch)[0]  # type: ignore[operator]
    rgb = to_picture(image)[..., ::-1]
    if truth is not None and truth.shape != rgb.shape[:2]:
        truth = None
    return _inspection(sample, calls, rgb, classes, title, truth)
