"""How large images are trained on, how many at a time, how long, and with which class weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from ..checks.dataset.statistics import Statistics

Size = tuple[int, int]

# A batch of four such crops is what two CPU cores, or a small GPU, hold with ease.
_CROP_AREA = 384 * 512
_SMALLEST_CROP = 64
_STRIDE = 32
BATCH = 4
# As CamVid's config: 22 passes over its 367 images.
_PASSES = 22
_ITERATIONS = (300, 20_000)
# Classes whose shares of the pixels differ by more are weighted.
_UNBALANCED = 20.0
# Of configs/ddf_camvid.py with one thread (docs/results.md)
_SECONDS, _SECONDS_AREA = 49 * 60 / 2000, 288 * 384


@dataclass(frozen=True)
class Recipe:
    """The numbers of a config.

    Args:
        scale: width and height that images are brought to.
        resize: whether they are, in validation; else each keeps its size.
        crop: height and width of what is trained on.
        iterations: of training.
        interval: iterations between validations.
        class_weight: of the loss; None: classes are balanced.
    """

    scale: Size
    resize: bool
    crop: Size
    iterations: int
    interval: int
    class_weight: list[float] | None

    @property
    def minutes(self) -> float:
        """What training takes with one thread of a CPU, roughly."""
        area = self.crop[0] * self.crop[1] / _SECONDS_AREA
        return self.iterations * _SECONDS * area / 60


def choose_recipe(
    sizes: Sequence[Size], training: int, statistics: Statistics, longest: int
) -> Recipe:
    """The numbers that fit a dataset.

    Args:
        sizes: width and height of all images.
        training: how many of them train.
        statistics: of the training labels.
        longest: the longer side that images may have; larger ones are resized.
    """
    width, height = round(median(w for w, _ in sizes)), round(median(h for _, h in sizes))
    factor = min(1.0, longest / max(width, height))
    scale = (round(width * factor), round(height * factor))
    iterations = round(_PASSES * training / BATCH / 100) * 100
    iterations = min(max(iterations, _ITERATIONS[0]), _ITERATIONS[1])
    parts = 4 if iterations <= 4000 else 10
    return Recipe(
        scale=scale,
        resize=factor < 1 or len(set(sizes)) > 1,
        crop=_crop(scale),
        iterations=iterations,
        interval=iterations // parts,
        class_weight=_class_weight(statistics),
    )


def _crop(scale: Size) -> Size:
    """Four fifths of the image, as far as a batch of it fits; multiples of the coarsest stride."""
    width, height = 0.8 * scale[0], 0.8 * scale[1]
    factor = min(1.0, (_CROP_AREA / (width * height)) ** 0.5)
    rows, columns = (
        max(_SMALLEST_CROP, int(side * factor) // _STRIDE * _STRIDE) for side in (height, width)
    )
    return rows, columns


def _class_weight(statistics: Statistics) -> list[float] | None:
    seen = statistics.pixels[statistics.pixels > 0]
    if not seen.size or seen.max() < _UNBALANCED * seen.min():
        return None
    return [round(weight, 2) for weight in statistics.class_weights()['inverse_sqrt']]


def count_pixels(names: Sequence[str], labels: Sequence[Counter[int]], ignored: int) -> Statistics:
    """How often classes occur.

    Args:
        names: of the classes.
        labels: pixels of each class in each label.
        ignored: the id that is no class.
    """
    pixels = np.zeros(len(names), np.int64)
    images_with, pixels_of_those = pixels.copy(), pixels.copy()
    for label in labels:
        counts = np.array([label[index] for index in range(len(names))], np.int64)
        pixels += counts
        images_with += counts > 0
        pixels_of_those[counts > 0] += sum(label.values())
    void = sum(label[ignored] for label in labels)
    ids: Counter[int] = Counter()
    for label in labels:
        ids.update(label)
    return Statistics(list(names), len(labels), pixels, images_with, pixels_of_those, void, ids)
