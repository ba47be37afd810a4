"""What runs a network on images: PyTorch, or another runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...errors import UsageError
from .classes import Classes
from .drawing import entropy_of
from .tiling import Choose, Scores, place_windows, segment_windows

_TILE = 1024  # pixels; a larger window takes more memory and hardly sees more


class Tiles(NamedTuple):
    """The windows over an image that is not segmented at once.

    Attributes:
        size: height and width, in pixels as the network sees them.
        overlap: of neighbours, above and beside each other.
    """

    size: tuple[int, int]
    overlap: tuple[int, int]

    def __str__(self) -> str:
        height, width = self.size
        overlap = '×'.join(map(str, dict.fromkeys(reversed(self.overlap))))
        return f'windows of {width}×{height} pixels that overlap by {overlap}'


def make_tiles(size: Sequence[int], overlap: int | None) -> Tiles:
    """Tiles of one size, or of the usual one.

    Args:
        size: side, or height and width; empty: the usual.
        overlap: in pixels; None: an eighth of each side.

    Raises:
        UsageError: they would overlap by more than half.
    """
    height, width = (*size, *size)[:2] if size else (_TILE, _TILE)
    if overlap is not None and 2 * overlap > min(height, width):
        raise UsageError(
            f'--overlap: expected at most half of the window of {width}×{height} pixels, got '
            f'{overlap}'
        )
    pair = (height // 8, width // 8) if overlap is None else (overlap, overlap)
    return Tiles((height, width), pair)


@dataclass
class View:
    """An image as a network sees it, whole or in windows.

    Attributes:
        image_size: height and width of the image, and of its class ids.
        size: height and width as the network sees it.
        divisor: windows start at its multiples, see `tiling.place_windows`.
        scores: of a window.
        choose: the class by the scores.
        prepared: what the backend needs to segment it whole.
    """

    image_size: tuple[int, int]
    size: tuple[int, int]
    divisor: int
    scores: Scores
    choose: Choose
    prepared: Any

    def bytes_with(self, image: np.ndarray) -> int:
        """About how many bytes the image that it is of and its own copy of it take."""
        (height, width), (own_height, own_width) = self.image_size, self.size
        return image.nbytes + image.nbytes * own_height * own_width // (height * width)


class Prediction(NamedTuple):
    """What a network says of an image.

    Attributes:
        ids: class ids, (H, W), uint8 or for many classes uint16.
        doubt: the entropy of the class probabilities in 255ths, (H, W) uint8; None: not asked for.
    """

    ids: np.ndarray
    doubt: np.ndarray | None = None


class Backend(Protocol):
    """A network that segments images.

    Attributes:
        classes: names and colours.
        unusual: inputs in which it sees things far larger or smaller than in training.
    """

    classes: Classes
    unusual: set[Path]

    def read(self, file: Path) -> np.ndarray:
        """An image file, as the network takes it.

        Raises:
            UnreadableError: it cannot be opened or decoded.
            MemoryError: it does not fit.
        """

    def convert(self, frame: np.ndarray) -> np.ndarray:
        """A frame of a video, (H, W, 3) uint8, BGR, as `read` would give it."""

    def view(self, image: np.ndarray) -> View:
        """An image of `read` or `convert` as the network sees it."""

    def segment(self, views: Sequence[View], doubt: bool) -> Sequence[Prediction]:
        """Segments images of one size, each seen whole.

        Args:
            views: the images.
            doubt: whether to say how sure the network is.
        """

    def check_doubt(self) -> None:
        """Makes sure that the network says how sure it is.

        Raises:
            UsageError: it does not.
        """

    def check_size(self, view: View, file: Path) -> None:
        """Tells the user, once, where an image is of another size than the network expects."""

    def tiles(self, size: Sequence[int] | None, overlap: int | None) -> Tiles:
        """The windows to use.

        Args:
            size: as asked for: side, or height and width, or empty; None: not asked for.
            overlap: as asked for.

        Raises:
            UsageError: the network takes no such windows.
        """

    def memory(self, view: View, number: int) -> tuple[int, int]:
        """About how many bytes images take that are seen whole together, and how many there are.

        Args:
            view: one of the images, which are of one size.
            number: how many they are.
        """


def doubt_of(scores: np.ndarray) -> np.ndarray:
    """`Prediction.doubt` of scores (classes, h, w)."""
    return np.rint(255 * entropy_of(scores)).astype(np.uint8)


def highest(scores: np.ndarray) -> np.ndarray:
    """The class with the highest score, of scores (classes, h, w): uint8, above 256 uint16."""
    return scores.argmax(0).astype(np.uint8 if len(scores) <= 256 else np.uint16)


def segment_view(
    view: View,
    tiles: Tiles | None,
    doubt: bool,
    step: Callable[[int, int], object] = lambda done, total: None,
) -> Prediction:
    """Segments an image by the scores of its windows.

    Args:
        view: the image.
        tiles: the windows; None: a single one.
        doubt: whether to say how sure the network is.
        step: gets the number of finished windows, and of all.
    """
    size, overlap = tiles or Tiles(view.size, (0, 0))
    rows, columns = (
        place_windows(length, side, shared, view.divisor, result)
        for length, side, shared, result in zip(
            view.size, size, overlap, view.image_size, strict=True
        )
    )

    def choose(scores: np.ndarray) -> np.ndarray:
        ids = view.choose(scores)
        return np.stack([ids, doubt_of(scores).astype(ids.dtype)], -1) if doubt else ids

    found = segment_windows(view.scores, choose, rows, columns, step)
    if doubt:
        return Prediction(found[..., 0], found[..., 1].astype(np.uint8))
    return Prediction(found)
