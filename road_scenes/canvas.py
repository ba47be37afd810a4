"""The picture, its labels and its depth, drawn together from far to near."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .labels import IGNORE
from .light import Colour, Light
from .view import FloatArray, View

_SHIFT = 4
_ONE = 1 << _SHIFT
_LIMIT = 15000.0  # pixels; keeps OpenCV's fixed-point coordinates in range


def fixed(points: ArrayLike) -> NDArray[np.int32]:
    """Pixels as OpenCV's fixed-point coordinates with 4 fractional bits."""
    clipped = np.minimum(np.maximum(np.asarray(points, np.float64), -_LIMIT), _LIMIT)
    return np.rint(clipped * _ONE).astype(np.int32)


def lit(colour: Colour, brightness: float) -> Colour:
    """A colour under a brightness."""
    b, g, r = colour
    return (
        min(b * brightness, 255.0),
        min(g * brightness, 255.0),
        min(r * brightness, 255.0),
    )


class Canvas:
    """Image (H, W, 3) BGR uint8; label and depth in metres, both (H, W) float32.

    What has no label is a detail of the surface below it: it changes the image alone. The image is
    drawn with anti-aliasing, labels and depth without. Depth 0 means infinitely far. ``rng`` is the
    source of chance of the thing that is being drawn.
    """

    def __init__(self, view: View, light: Light) -> None:
        self.view = view
        self.light = light
        self.image = np.zeros((view.height, view.width, 3), np.uint8)
        # Two channels of one array, so that each thing is drawn into both at once.
        self._surface = np.empty((view.height, view.width, 2), np.float32)
        self._surface[:] = IGNORE, 0
        self.label, self.depth = self._surface[..., 0], self._surface[..., 1]
        self.rng = np.random.default_rng(0)
        self.glows: list[tuple[FloatArray, float, Colour, float]] = []

    def fill(
        self,
        points: ArrayLike,
        colour: Colour,
        label: int | None = None,
        depth: float = 0.0,
    ) -> None:
        """Fill the polygon through points (N, 2)."""
        self.fill_all([fixed(points)], colour, label, depth)

    def fill_quads(self, quads: ArrayLike, colour: Colour) -> None:
        """Fill details that do not overlap each other: corners of shape (N, 4, 2)."""
        quads = fixed(quads)
        if len(quads):
            self.fill_all(list(quads), colour, None, 0.0)

    def fill_all(
        self,
        polygons: Sequence[NDArray[np.int32]],
        colour: Colour,
        label: int | None,
        depth: float,
    ) -> None:
        """Fill polygons given in fixed-point coordinates."""
        cv2.fillPoly(self.image, polygons, colour, cv2.LINE_AA, _SHIFT)
        if label is not None:
            cv2.fillPoly(self._surface, polygons, (label, depth), cv2.LINE_8, _SHIFT)

    def stroke(
        self,
        points: ArrayLike,
        width: float | Sequence[float],
        colour: Colour,
        label: int | None = None,
        depth: float = 0.0,
    ) -> None:
        """Draw a line through points (N, 2) that is ``width`` pixels wide (one, or one per point).

        OpenCV's polygons include their outline, half a pixel on each side, so they are drawn that
        much narrower: a line of one pixel is one pixel wide.
        """
        p = np.asarray(points, np.float64)
        half = np.maximum(np.broadcast_to(np.asarray(width, np.float64), len(p)) - 1.0, 0.0) / 2
        along = p[1:] - p[:-1]
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        across = np.stack([-along[:, 1], along[:, 0]], 1) / length[:, None]
        near, far = across * half[:-1, None], across * half[1:, None]
        quads = fixed(np.stack([p[:-1] + near, p[1:] + far, p[1:] - far, p[:-1] - near], 1))
        for quad in quads:
            self.fill_all([quad], colour, label, depth)

    def disc(
        self,
        centre: Sequence[float] | FloatArray,
        radius: float | tuple[float, float],
        colour: Colour,
        label: int | None = None,
        depth: float = 0.0,
    ) -> None:
        """Fill a circle, or an ellipse with horizontal and vertical radius, in pixels."""
        rx, ry = (radius, radius) if isinstance(radius, int | float) else radius
        u, v = float(centre[0]), float(centre[1])
        if u + rx < 0 or u - rx > self.view.width or v + ry < 0 or v - ry > self.view.height:
            return
        at = round(u * _ONE), round(v * _ONE)
        axes = max(round((rx - 0.5) * _ONE), 0), max(round((ry - 0.5) * _ONE), 0)
        cv2.ellipse(self.image, at, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)
        if label is not None:
            surface = (label, depth)
            cv2.ellipse(self._surface, at, axes, 0, 0, 360, surface, -1, cv2.LINE_8, _SHIFT)

    def glow(self, centre: ArrayLike, radius: float, colour: Colour, depth: float) -> None:
        """Remember a light source, which shines whatever the daylight if nothing covers it."""
        self.glows.append((np.asarray(centre, np.float64), radius, colour, depth))
