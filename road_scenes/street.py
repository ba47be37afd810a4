"""Collects what stands on the street, and draws it from far to near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .canvas import Canvas, fixed
from .plan import Plan
from .vegetation import draw_tree, sample_leaves


class Street:
    """Things, in the order in which they hide each other, and the shadows that they cast.

    Every thing gets a random generator of its own. So a scene stays the same at any resolution,
    however many leaves are drawn, and whatever is left out because it is not in the picture.

    Attributes:
        shadow: Share of the sun that is hidden from the ground, (H, W) uint8.
    """

    def __init__(self, canvas: Canvas, rng: np.random.Generator, plan: Plan) -> None:
        self.canvas, self.rng, self.plan = canvas, rng, plan
        self.shadow: NDArray[np.uint8] = np.zeros(canvas.label.shape, np.uint8)
        self._things: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []

    def add(
        self, s: float, z: float, reach: float, draw: Callable[..., None], *args: object
    ) -> None:
        """Queue ``draw(canvas, *args)`` for a thing within ``reach`` metres of (s, z).

        The larger z is drawn earlier: z is the depth of what is nearest, but the far end of a
        slice that runs along the street.
        """
        seed = int(self.rng.integers(1 << 32))
        if z > 1.5 and self.canvas.view.shows(s, z, reach):
            self._things.append((z, seed, draw, args))

    def draw(self) -> None:
        """Draw everything queued."""
        for _, seed, draw, args in sorted(self._things, key=lambda thing: -thing[0]):
            self.canvas.rng = np.random.default_rng(seed)
            draw(self.canvas, *args)

    def tree(self, s: float, z: float, height: float) -> None:
        """A tree and its shadow."""
        self.add(s, z, height * 0.4, draw_tree, s, z, height, sample_leaves(self.rng))
        self.shade_pole(s, z, height * 0.6, 0.12)
        self.shade_crown(s, z, height * 0.68, height * 0.3)

    def shade_box(self, s: float, z: float, half: float, length: float, height: float) -> None:
        """Shadow of a box, and the dark below it whatever the weather."""
        corner_s = s + half * np.array([-1, 1, 1, -1])
        corner_z = z + length / 2 * np.array([-1, -1, 1, 1])
        self._shade(corner_s, corner_z)
        if self.canvas.light.direct:
            ds, dz = self._reach()
            self._shade(
                np.r_[corner_s, corner_s + ds * height], np.r_[corner_z, corner_z + dz * height]
            )

    def shade_pole(self, s: float, z: float, height: float, width: float) -> None:
        """Shadow of something thin."""
        if self.canvas.light.direct and z > 3:
            ds, dz = self._reach()
            tip_s, tip_z = s + ds * height, z + dz * height
            self._shade([s - width, s + width, tip_s + width, tip_s - width], [z, z, tip_z, tip_z])

    def shade_crown(self, s: float, z: float, height: float, radius: float) -> None:
        """Shadow of a crown of leaves."""
        if not self.canvas.light.direct or z > 45:
            return
        ds, dz = self._reach()
        angle = np.linspace(0, 2 * np.pi, 9)[:-1]
        for _ in range(3):
            a, b = self.rng.normal(0, 0.35 * radius, 2)
            size = radius * self.rng.uniform(0.35, 0.6)
            at_z = z + dz * height + b + size * np.sin(angle)
            if at_z.min() > 2:
                self._shade(s + ds * height + a + size * np.cos(angle), at_z)

    def _reach(self) -> tuple[float, float]:
        """Metres that a shadow moves in s and z per metre of height."""
        x, y, z = self.canvas.light.sun
        return -x / y, -z / y

    def _shade(self, s: ArrayLike, z: ArrayLike) -> None:
        z = np.maximum(np.asarray(z, np.float64), 2.0)
        hull = cv2.convexHull(self.canvas.view.road(s, 0.0, z).astype(np.float32))[:, 0]
        cv2.fillPoly(self.shadow, [fixed(hull)], 255, cv2.LINE_AA, 4)
