"""What lines the street: houses, walls, fences, hedges and parks."""

from __future__ import annotations

import itertools

import numpy as np

from .buildings import Facade, House, sample_house
from .canvas import Canvas, lit
from .furniture import draw_fence, draw_wall
from .light import Colour
from .plan import Segment, Side
from .street import Street
from .vegetation import draw_bush, draw_hedge, sample_leaves

_DEPTH = 12.0  # metres from a house's front to its back
_WALLS: tuple[Colour, ...] = (
    (92, 104, 150),  # brick
    (150, 156, 160),
    (128, 150, 172),
    (176, 182, 186),
    (112, 116, 122),
)


def _cuts(z0: float, z1: float, step: float) -> list[int]:
    """Cuts a long thing into slices, so that what a bend puts in front of it can hide it.

    Slices are multiples of ``step`` metres: near ones about 4 m long, far ones longer.
    """
    n = max(round((z1 - z0) / step), 1)
    i, cuts = 0, [0]
    while i < n:
        z = z0 + (z1 - z0) * i / n
        i = min(i + max(int(max(4.0, 0.12 * z) / step), 1), n)
        cuts.append(i)
    return cuts


def _draw_front(canvas: Canvas, s: float, a: float, b: float, house: House, bays: int) -> None:
    facade = Facade(canvas, (s, a), (s, b), house)
    if house.pitch:
        facade.roof(_DEPTH / 2)
    facade.draw(bays)


def _draw_end(canvas: Canvas, s: float, z: float, back: float, house: House) -> None:
    bays = max(int(_DEPTH / house.bay), 1)
    Facade(canvas, (s, z), (back, z), house).draw(bays)


class Frontage:
    """Builds up the sides of a street."""

    def __init__(self, street: Street) -> None:
        self.street, self.rng = street, street.rng

    def line(self, side: Side) -> None:
        """Put up everything along one side."""
        rng = self.rng
        if self.street.plan.railing and side.sign > 0:
            # It keeps people off the road.
            z, length = rng.uniform(6, 14), rng.uniform(8, 24)
            self._fence(side.sign * (side.kerb + 0.3), z, z + length, planks=0.0)
        low = bool(rng.random() < 0.3)
        house = sample_house(rng, low)
        for segment in side.segments:
            if segment.kind == 'street':
                continue
            if segment.kind == 'building' or rng.random() < 0.5:
                house = sample_house(rng, low)
            self._segment(side, segment, house)

    def _segment(self, side: Side, segment: Segment, house: House) -> None:
        rng, sign = self.rng, side.sign
        kind, z0, z1 = segment.kind, segment.z0, segment.z1
        if kind == 'building':
            self._house(sign, side.edge, z0, z1, house)
            return
        near = side.edge + 0.15
        far = near + rng.uniform(5, 9)
        if kind == 'wall':
            self._wall(sign * near, z0, z1)
        elif kind == 'fence':
            self._fence(sign * near, z0, z1, planks=0.3)
        elif kind == 'hedge':
            self._hedge(sign * near, z0, z1)
        if kind != 'park' and rng.random() < 0.65:
            self._house(sign, far, z0, z1, house)
            self._grove(sign, near + 1.5, far - 1.5, z0, z1, 0.03)
            return
        far += rng.uniform(6, 14)
        self._grove(sign, near + 1.2, far, z0, z1, 0.02)
        if rng.random() < 0.5:
            self._house(sign, far, z0, z1, house)
        else:
            leaves = lit(sample_leaves(rng), 0.9)
            for z in np.arange(z0 + 1.0, z1, 3.0):
                self._bush(sign * far, float(z), rng.uniform(1.8, 3.2), leaves)

    def _wall(self, s: float, z0: float, z1: float) -> None:
        rng = self.rng
        height, pick = float(rng.uniform(1.4, 2.6)), int(rng.integers(len(_WALLS)))
        tone = lit(_WALLS[pick], rng.uniform(0.9, 1.1))
        brick = bool(pick == 0 or rng.random() < 0.3)
        for a, b in self._slices(z0, z1):
            self.street.add(s, b, b - a + 1, draw_wall, s, a, b, height, tone, brick)
        self.street.shade_box(s, (z0 + z1) / 2, 0.15, z1 - z0, height)

    def _fence(self, s: float, z0: float, z1: float, planks: float) -> None:
        rng = self.rng
        height = float(rng.uniform(1.1, 1.9))
        style = str(rng.choice(['bars', 'planks', 'rail'], p=[0.85 - planks, planks, 0.15]))
        paint: Colour = ((48, 50, 50), (120, 124, 124), (50, 84, 48))[int(rng.integers(3))]
        if style == 'planks':
            paint = lit((84, 118, 158), rng.uniform(0.75, 1.25))
        elif style == 'rail':
            height, paint = 1.0, (150, 154, 156)
        for a, b in self._slices(z0, z1):
            self.street.add(s, b, b - a + 1, draw_fence, s, a, b, height, paint, style)
        self.street.shade_box(s, (z0 + z1) / 2, 0.08, z1 - z0, height * 0.3)

    def _hedge(self, s: float, z0: float, z1: float) -> None:
        height, leaves = float(self.rng.uniform(1.1, 1.9)), sample_leaves(self.rng)
        for a, b in self._slices(z0, z1):
            self.street.add(s, b, b - a + 1, draw_hedge, s, a, b, height, leaves)
        self.street.shade_box(s, (z0 + z1) / 2, 0.3, z1 - z0, height)

    @staticmethod
    def _slices(z0: float, z1: float) -> list[tuple[float, float]]:
        cuts = _cuts(z0, z1, 1.0)
        at = [z0 + (z1 - z0) * i / cuts[-1] for i in cuts]
        return list(itertools.pairwise(at))

    def _grove(
        self, sign: int, near: float, far: float, z0: float, z1: float, density: float
    ) -> None:
        rng = self.rng
        for _ in range(rng.poisson(density * (far - near) * (z1 - z0))):
            s, z = sign * rng.uniform(near, far), rng.uniform(z0, z1)
            if rng.random() < 0.35:
                self._bush(s, z, rng.uniform(0.6, 1.3), sample_leaves(rng))
            else:
                self.street.tree(s, z, rng.uniform(5, 11))

    def _bush(self, s: float, z: float, radius: float, leaves: Colour) -> None:
        self.street.add(s, z, radius, draw_bush, s, z, radius, leaves)
        self.street.shade_crown(s, z, radius * 0.6, radius)

    def _house(self, sign: int, near: float, z0: float, z1: float, house: House) -> None:
        """A house with its front at distance ``near`` from the centre line."""
        s, back = sign * near, sign * (near + _DEPTH)
        cuts = _cuts(z0, z1, house.bay)
        for i, j in itertools.pairwise(cuts):
            a, b = (z0 + (z1 - z0) * k / cuts[-1] for k in (i, j))
            reach = b - a + 1 + (_DEPTH / 2 if house.pitch else 0)
            self.street.add(s, b, reach, _draw_front, s, a, b, house, j - i)
        self.street.add(s, z0, _DEPTH, _draw_end, s, z0, back, house)
        self.street.shade_box((s + back) / 2, (z0 + z1) / 2, _DEPTH / 2, z1 - z0, house.height)
