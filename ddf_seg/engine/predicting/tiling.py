"""Segments an image window by window: memory grows with the window, not with the image.

Windows overlap. Where two do, the scores of one fade into the other's, so that no seam shows; their
outermost pixels, which see the least around them, count for nothing. Scores are kept where later
windows add to them, in strips along two borders, and become class ids as soon as they are complete.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Of a window's rows and columns (within the image that the network sees): scores (classes, h, w)
Scores = Callable[[slice, slice], np.ndarray]
# Of scores (classes, h, w): the class ids (h, w), or more numbers for each pixel (h, w, …)
Choose = Callable[[np.ndarray], np.ndarray]


class Window(NamedTuple):
    """A window along one axis, and the part of the result that it says something about.

    Attributes:
        seen: the window, in pixels of the image that the network sees.
        start: first pixel of the part, in the result.
        inner: first pixel that it does not share with the window before.
        outer: first pixel that it shares with the window behind.
        stop: the end of the part.
    """

    seen: slice
    start: int
    inner: int
    outer: int
    stop: int

    @property
    def weights(self) -> np.ndarray:
        """How much the window counts, from `start` to `stop`: rising, 1, falling; float32.

        Those of all windows sum to 1 at each pixel.
        """
        rising, falling = _ramp(self.inner - self.start), 1 - _ramp(self.stop - self.outer)
        middle = np.ones(self.outer - self.inner, np.float32)
        return np.concatenate([rising, middle, falling])


def place_windows(
    length: int, tile: int, overlap: int, divisor: int = 1, result: int | None = None
) -> list[Window]:
    """Windows that cover an axis, spread evenly.

    Args:
        length: of the image that the network sees, in pixels.
        tile: length of a window.
        overlap: how much of a window its neighbour sees, too, at least; at most half of it.
        divisor: windows start at its multiples, so that the network's grids of features lie as in
            the whole image, and the last may be shorter by less than it. 1: all have the same
            length, unless the image is shorter.
        result: length of the result; None: as the image.
    """
    result = length if result is None else result
    if tile - overlap < divisor:
        divisor = 1
    # In the unit of the divisor
    last = max(0, -(-(length - tile) // divisor))
    steps = -(-last // max(1, (tile - overlap) // divisor))
    starts = [divisor * (i * last // max(1, steps)) for i in range(steps + 1)]
    seen = [slice(start, min(start + tile, length)) for start in starts]
    # Each fades into the next about the middle of what both see, over half of that; no fading
    # reaches into another.
    middles = [(behind.start + before.stop) / 2 for before, behind in pairwise(seen)]
    reach = min([overlap / 4, *((b - a) / 2 for a, b in pairwise(middles))])
    ratio = result / length
    fades = [(round((m - reach) * ratio), round((m + reach) * ratio)) for m in middles]
    bounds = pairwise([(0, 0), *fades, (result, result)])
    return [Window(s, *a, *b) for s, (a, b) in zip(seen, bounds, strict=True)]


def segment_windows(
    scores: Scores,
    choose: Choose,
    rows: list[Window],
    columns: list[Window],
    step: Callable[[int, int], object] = lambda done, total: None,
) -> np.ndarray:
    """Segments an image: its class ids, (H, W).

    Where the result has another size than the image that the network sees, scores are interpolated
    bilinearly, as mmseg does (align_corners=False).

    Args:
        scores: of a window, float32; may be written to.
        choose: the class by the scores.
        rows: `place_windows` of the rows.
        columns: and of the columns.
        step: gets the number of finished windows, and of all.
    """
    height, width = rows[-1].stop, columns[-1].stop
    ids = below = np.empty(0)
    for above, row in enumerate(rows):
        right = np.empty(0)
        for before, column in enumerate(columns):
            part = scores(row.seen, column.seen)
            part = _resampled(part, 1, row, rows[-1])
            part = _resampled(part, 2, column, columns[-1])
            part *= row.weights[:, None]
            part *= column.weights
            if not below.size:
                most = max(each.stop - each.outer for each in rows)
                below = np.empty((len(part), max(1, most), width), np.float32)
            part[:, :, : column.inner - column.start] += right if right.size else 0
            ready = np.s_[column.start : column.outer]
            right = part[:, :, column.outer - column.start :].copy()
            part = part[:, :, : column.outer - column.start]
            shared = row.inner - row.start
            part[:, :shared] += below[:, :shared, ready]
            below[:, : row.stop - row.outer, ready] = part[:, row.outer - row.start :]
            chosen = choose(part[:, : row.outer - row.start])
            if not ids.size:
                ids = np.zeros((height, width, *chosen.shape[2:]), chosen.dtype)
            ids[row.start : row.outer, ready] = chosen
            step(above * len(columns) + before + 1, len(rows) * len(columns))
    return ids


def _ramp(pixels: int) -> np.ndarray:
    return ((np.arange(pixels) + 0.5) / max(1, pixels)).astype(np.float32)


def _resampled(scores: np.ndarray, axis: int, window: Window, last: Window) -> np.ndarray:
    """What a window (classes, h, w) says of its part of the result, along an axis."""
    first, seen, result = window.seen.start, last.seen.stop, last.stop
    if seen == result:
        kept = slice(window.start - first, window.stop - first)
        return scores[:, kept] if axis == 1 else scores[:, :, kept]
    source = (np.arange(window.start, window.stop) + 0.5) * seen / result - 0.5 - first
    source = source.clip(0, scores.shape[axis] - 1)
    low = source.astype(int)
    high = np.minimum(low + 1, scores.shape[axis] - 1)
    share = (source - low).astype(np.float32)
    share = share[:, None] if axis == 1 else share
    lower, upper = scores.take(low, axis), scores.take(high, axis)
    upper -= lower
    upper *= share
    lower += upper
    return lower
