"""Draws a prediction over its image: colours, outlines, a legend, some classes, doubt."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from PIL import ImageFont

# How people without red or green cones see linear RGB (Machado, Oliveira, Fernandes 2009).
_VISIONS = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]),
)  # fmt: skip
# What is lighter or darker is lost on paper, or in the shade.
_LIGHTNESS = (28.0, 88.0)


def entropy_of(logits: np.ndarray) -> np.ndarray:
    """How unsure a segmentor is: the entropy of its class probabilities, 0 to 1.

    Args:
        logits: (classes, H, W); a single one is that of the foreground.

    Returns:
        (H, W) float32, Shannon's entropy in units of the logarithm of the number of classes.
    """
    if len(logits) == 1:
        logits = np.concatenate([np.zeros_like(logits), logits])
    logits = logits - logits.max(0)
    share = np.exp(logits)
    total = share.sum(0)
    # -Σ p log p, with p = share / total and log p = logits - log total
    entropy = np.log(total) - np.einsum('chw,chw->hw', share, logits) / total
    found: np.ndarray = (entropy / math.log(len(logits))).clip(0, 1)
    return found


def seen_colours(palette: np.ndarray) -> np.ndarray:
    """Colours (n, 3) uint8 in CIELAB as three kinds of eyes see them, (3, n, 3).

    Normal ones, those without red cones and those without green ones.
    """
    srgb = palette.astype(np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = []
    for vision in _VISIONS:
        found = np.clip(linear @ vision.T, 0, 1)
        bent = np.where(found <= 0.0031308, 12.92 * found, 1.055 * found ** (1 / 2.4) - 0.055)
        seen.append(cv2.cvtColor(bent[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0])
    return np.stack(seen)


@functools.cache
def _clear_palette(number: int) -> np.ndarray:
    steps = np.linspace(0, 255, 12).round()
    candidates = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3).astype(np.uint8)
    lightness = seen_colours(candidates)[0, :, 0]
    candidates = candidates[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]
    seen = seen_colours(candidates)
    # Away from black lines and grey streets
    taken = seen_colours(np.array([[0, 0, 0], [128, 128, 128]], np.uint8))
    distance = np.full(len(candidates), np.inf)
    for index in range(2):
        distance = np.minimum(distance, np.linalg.norm(seen - taken[:, index, None], axis=2).min(0))
    chosen = []
    for _ in range(number):
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, np.linalg.norm(seen - seen[:, best, None], axis=2).min(0))
    return np.stack(chosen)


def clear_palette(number: int) -> np.ndarray:
    """Colours that differ as much as they can, to colour-blind eyes, too, (number, 3) uint8, RGB.

    Each is the one farthest, in CIELAB as the worst of three kinds of eyes sees it, from those
    before.
    """
    return _clear_palette(number).copy()


# What the drawings can show
SHOWN = ('classes', 'doubt')
_LINE = (20, 20, 20)
_BAND = 512  # rows
# cividis in five steps, which eyes without red or green cones see alike (BGR)
_DOUBT_STEPS = np.array(
    [(78, 34, 0), (109, 77, 53), (120, 123, 124), (107, 172, 175), (69, 232, 254)]
)


def outlines_of(ids: np.ndarray) -> np.ndarray:
    """Where classes meet: pixels (H, W) whose right or lower neighbour has another class."""
    found = np.zeros(ids.shape, bool)
    found[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    found[:-1] |= ids[:-1] != ids[1:]
    return found


@dataclass(frozen=True)
class Drawing:
    """How a prediction is drawn over its image.

    Attributes:
        names: of the classes.
        palette: their colours, (classes, 3) uint8, RGB.
        opacity: of the colours, 0 to 1.
        shown: 'classes', or 'doubt': the entropy of the class probabilities.
        outlines: draw dark lines where classes meet.
        only: ids of the classes to draw; None: all. Elsewhere the image stays as it is.
        legend: put the names and colours below the image.
    """

    names: Sequence[str]
    palette: np.ndarray
    opacity: float = 0.5
    shown: str = 'classes'
    outlines: bool = False
    only: frozenset[int] | None = None
    legend: bool = False

    def __call__(
        self,
        picture: np.ndarray,
        ids: np.ndarray,
        doubt: np.ndarray | None = None,
        all_classes: bool = False,
    ) -> np.ndarray:
        """The picture with the prediction over it; with a legend it is higher.

        Args:
            picture: (H, W, 3) uint8, BGR.
            ids: class ids, (H, W).
            doubt: `entropy_of` in 255ths, (H, W) uint8; needed where it is shown.
            all_classes: list all classes in the legend, and not those in the picture alone: so that
                the frames of a video have one size.
        """
        height, width = ids.shape
        legend = self._legend(ids, all_classes) if self.legend else np.empty((0, width, 3))
        drawn = np.empty((height + len(legend), width, 3), np.uint8)
        drawn[height:] = legend
        # By bands: what is needed on the way would take several times the memory of the picture.
        for top in range(0, height, _BAND):
            self._draw_band(drawn, picture, ids, doubt, slice(top, min(top + _BAND, height)))
        return drawn

    def _draw_band(
        self,
        drawn: np.ndarray,
        picture: np.ndarray,
        ids: np.ndarray,
        doubt: np.ndarray | None,
        rows: slice,
    ) -> None:
        if self.shown == 'doubt':
            assert doubt is not None
            colours = doubt_colours(np.linspace(0, 1, 256)[None])[0][doubt[rows]]
        else:
            colours = self.palette[:, ::-1][ids[rows]]
        opacity = self.opacity
        target, below = drawn[rows], picture[rows]
        cv2.addWeighted(below, 1 - opacity, colours, opacity, 0, target)
        # One row more, for the outlines
        near = ids[rows.start : rows.stop + 1]
        wanted = np.ones(near.shape, bool) if self.only is None else np.isin(near, list(self.only))
        own = slice(0, rows.stop - rows.start)
        if self.only is not None:
            np.copyto(target, below, where=~wanted[own, :, None])
        if self.outlines:
            # Around the classes that are drawn alone
            labels = np.where(wanted, near.astype(np.int32), -1)
            target[outlines_of(labels)[own]] = _LINE

    def _legend(self, ids: np.ndarray, all_classes: bool) -> np.ndarray:
        if self.shown == 'doubt':
            return _doubt_legend(ids.shape[1])
        there = range(len(self.names)) if all_classes else np.unique(ids).tolist()
        listed = [index for index in there if self.only is None or index in self.only]
        entries = [(self.names[i], tuple(self.palette[i].tolist())) for i in listed]
        return _class_legend(entries, ids.shape[1])


def doubt_colours(entropy: np.ndarray) -> np.ndarray:
    """Entropies (H, W), 0 to 1, as colours from dark blue to yellow, (H, W, 3) uint8, BGR."""
    places = np.linspace(0, 1, len(_DOUBT_STEPS))
    channels = [np.interp(entropy, places, _DOUBT_STEPS[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, -1)).astype(np.uint8)


def _font(width: int) -> tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, int]:
    # Imported where it is used: without a legend, nothing needs Pillow.
    from PIL import ImageFont

    size = min(max(11, width // 45), 28)
    return ImageFont.load_default(size), size


def _class_legend(entries: Sequence[tuple[str, tuple[int, ...]]], width: int) -> np.ndarray:
    """Names beside squares of their colours, in rows, (h, width, 3) uint8, BGR."""
    from PIL import Image, ImageDraw

    font, size = _font(width)
    square, gap, row = size, size // 2, round(1.6 * size)
    places, x, y = [], gap, gap
    for name, _ in entries:
        needed = square + gap + math.ceil(font.getlength(name))
        if x > gap and x + needed > width - gap:
            x, y = gap, y + row
        places.append((x, y))
        x += needed + 2 * gap
    image = Image.new('RGB', (width, y + row), 'white')
    draw = ImageDraw.Draw(image)
    for (x, y), (name, colour) in zip(places, entries, strict=True):
        draw.rectangle((x, y, x + square, y + square), colour, outline=(90, 90, 90))
        middle = y + square / 2
        draw.text((x + square + gap, middle), name, (20, 20, 20), font, anchor='lm')
    return np.asarray(image)[..., ::-1]


def _doubt_legend(width: int) -> np.ndarray:
    """The scale of the entropy, as `_class_legend`."""
    from PIL import Image, ImageDraw

    font, size = _font(width)
    gap = size // 2
    image = Image.new('RGB', (width, size + 2 * gap), 'white')
    draw = ImageDraw.Draw(image)
    middle = gap + size / 2
    x = gap
    draw.text((x, middle), 'sure', (20, 20, 20), font, anchor='lm')
    x += math.ceil(font.getlength('sure')) + gap
    length = max(1, min(8 * size, width - 2 * x))
    bar = doubt_colours(np.tile(np.linspace(0, 1, length), (size, 1)))
    image.paste(Image.fromarray(np.ascontiguousarray(bar[..., ::-1])), (x, gap))
    draw.text((x + length + gap, middle), 'in doubt', (20, 20, 20), font, anchor='lm')
    return np.asarray(image)[..., ::-1]
