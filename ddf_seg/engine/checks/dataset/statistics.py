"""How often classes occur in the labels of a split."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .scan import Records
from .splits import Split


@dataclass
class Statistics:
    """How often classes occur among the labels that were read.

    Args:
        classes: their names.
        images: how many pairs were read.
        pixels: of each class.
        images_with: how many labels have each class.
        pixels_of_those: all pixels of the labels that have each class.
        ignored: pixels that are ignored.
        ids: pixels of each id in the files.
    """

    classes: list[str]
    images: int
    pixels: np.ndarray
    images_with: np.ndarray
    pixels_of_those: np.ndarray
    ignored: int
    ids: Counter[int]

    @property
    def ignored_share(self) -> float:
        """The share of the ignored pixels, in per cent."""
        known = int(self.pixels.sum()) + self.ignored
        return 100 * self.ignored / known if known else 0.0

    def class_weights(self) -> dict[str, list[float]]:
        """Weights for a loss, 0 for classes that do not occur.

        median_frequency: median / frequency, a class's frequency being its share of the pixels of
        the images that have it (Eigen and Fergus, ICCV 2015). inverse_sqrt: 1 / √share of all
        labelled pixels, mean 1; milder, where rare classes would get too much.
        """
        seen = self.pixels > 0
        if not seen.any():
            return {}
        frequency = self.pixels[seen] / self.pixels_of_those[seen]
        milder = 1 / np.sqrt(self.pixels[seen] / self.pixels.sum())
        weights = {
            'median_frequency': np.median(frequency) / frequency,
            'inverse_sqrt': milder / milder.mean(),
        }
        full = {name: np.zeros(len(self.pixels)) for name in weights}
        for name, values in weights.items():
            full[name][seen] = values
        return {name: values.round(4).tolist() for name, values in full.items()}


def count_classes(split: Split, records: Records) -> Statistics:
    """Counts the classes in the labels of a split that were decoded."""
    pixels = np.zeros(split.num_classes, np.int64)
    images_with, pixels_of_those = pixels.copy(), pixels.copy()
    ids: Counter[int] = Counter()
    ignored = read = 0
    for part in split.parts:
        for pair in part.pairs:
            record = records.get(pair)
            if record is None or not record.decoded:
                continue
            read += 1
            ids.update(record.pixels)
            counts = np.zeros_like(pixels)
            for index, number in record.pixels.items():
                label = part.class_of(index)
                # As the loss: an ignored id is none of the classes.
                if label == split.ignore_index:
                    ignored += number
                elif 0 <= label < split.num_classes:
                    counts[label] += number
            pixels += counts
            images_with += counts > 0
            pixels_of_those[counts > 0] += sum(record.pixels.values())
    names = [*split.classes, *map(str, range(len(split.classes), split.num_classes))]
    return Statistics(
        names[: split.num_classes], read, pixels, images_with, pixels_of_those, ignored, ids
    )
