"""Chooses pixels worth a look: one of each class, on thin things, and on borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

# Smaller areas are noise of the prediction.
_LEAST_PIXELS = 16
# What is narrower than this share of the image's shorter side is thin.
_THIN = 0.03


@dataclass(frozen=True)
class Point:
    """A pixel of the image, (x, y), and what it is an example of."""

    x: int
    y: int
    label: str


def named_points(
    pixels: Sequence[tuple[int, int]], prediction: np.ndarray, names: Sequence[str]
) -> list[Point]:
    """Points at given pixels (x, y), labelled by what was predicted there.

    Raises:
        ValueError: a pixel outside the image.
    """
    height, width = prediction.shape
    for x, y in pixels:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f'points: {x},{y} lies outside the image: expected x from 0 to {width - 1} and y '
                f'from 0 to {height - 1}'
            )
    return [Point(x, y, names[prediction[y, x]]) for x, y in pixels]


def pick_points(
    prediction: np.ndarray, names: Sequence[str], thin: int = 2, borders: int = 2
) -> list[Point]:
    """Pixels well inside each class, on the longest thin things, and on the longest borders.

    Args:
        prediction: class ids, (H, W); negative ones belong to no class.
        names: of the classes.
        thin, borders: how many of these at most.
    """
    areas = np.bincount(prediction[prediction >= 0], minlength=len(names))
    present = [int(i) for i in np.argsort(-areas, kind='stable') if areas[i] >= _LEAST_PIXELS]
    points = []
    for index in present:
        y, x = _innermost(prediction == index)
        points.append(Point(x, y, names[index]))
    points += _thin_points(prediction, names, present)[:thin]
    return points + _border_points(prediction, names)[:borders]


def _innermost(mask: np.ndarray) -> tuple[int, int]:
    distance = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), mask.shape)
    return int(y), int(x)


def _thin_points(
    prediction: np.ndarray, names: Sequence[str], present: Sequence[int]
) -> list[Point]:
    # Odd, or the disc would have no middle
    width = max(3, round(_THIN * min(prediction.shape))) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    found = []
    for index in present:
        mask = (prediction == index).astype(np.uint8)
        # What an opening takes away is what the disc does not fit into.
        residue = cv2.morphologyEx(mask, cv2.MORPH_TOPHAT, disc)
        number, parts, stats, _ = cv2.connectedComponentsWithStats(residue)
        if number < 2:
            continue
        sides = stats[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
        longest = int(sides.argmax()) + 1
        if sides.max() < 3 * width:
            continue
        y, x = _innermost(parts == longest)
        found.append((sides.max(), Point(x, y, f'{names[index]}, thin')))
    return [point for _, point in sorted(found, key=lambda item: -item[0])]


def _border_points(prediction: np.ndarray, names: Sequence[str]) -> list[Point]:
    pairs: dict[tuple[int, int], list[np.ndarray]] = {}
    for step_y, step_x in ((0, 1), (1, 0)):
        here = prediction[: len(prediction) - step_y, : prediction.shape[1] - step_x]
        there = prediction[step_y:, step_x:]
        low, high = np.minimum(here, there), np.maximum(here, there)
        ys, xs = np.nonzero((low != high) & (low >= 0))
        codes = low[ys, xs] * len(names) + high[ys, xs]
        for code in np.unique(codes):
            own = codes == code
            pair = (int(code) // len(names), int(code) % len(names))
            pairs.setdefault(pair, []).append(np.stack([ys[own], xs[own]], 1))
    lengths = {pair: sum(map(len, parts)) for pair, parts in pairs.items()}
    points = []
    for pair in sorted(pairs, key=lambda pair: -lengths[pair]):
        pixels = np.concatenate(pairs[pair])
        # Far from any third class
        both = np.pad(np.isin(prediction, pair), 1).astype(np.uint8)
        room = cv2.distanceTransform(both, cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = pixels[room[pixels[:, 0], pixels[:, 1]].argmax()]
        label = ' | '.join(names[index] for index in pair)
        points.append(Point(int(x), int(y), f'{label}, border'))
    return points
