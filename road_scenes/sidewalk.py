"""People, poles, signs and trees on the sidewalk."""

from __future__ import annotations

import numpy as np

from .furniture import (
    SIGNS,
    draw_bin,
    draw_bollard,
    draw_lamp,
    draw_sign,
    draw_traffic_light,
    draw_wire,
    sample_steel,
)
from .people import draw_person
from .plan import FAR, Side
from .street import Street


class Sidewalk:
    """Furnishes the sidewalks of a street."""

    def __init__(self, street: Street) -> None:
        self.street, self.rng, self.plan = street, street.rng, street.plan

    def fill(self) -> None:
        """Put up everything."""
        rng = self.rng
        if 'lights' in self.plan.wanted:
            self._signals()
        for side in self.plan.sides:
            self._lamps(side)
            if rng.random() < 0.55:
                self._avenue(side)
            for _ in range(rng.poisson(2.2)):
                depth = 7 + 45 * rng.random() ** 1.3
                self._sign(side.sign * (side.kerb + rng.uniform(0.3, 0.8)), depth)
            self._small_things(side)
            self._people(side)
        for s in self.plan.tracks:
            for z in np.arange(4.0, FAR, 14.0):
                self.street.add(s, z + 14, 15.0, draw_wire, (s, 5.3, z), (s, 5.3, z + 14))

    def _stands(self, z: float) -> bool:
        """Whether something can stand at depth z: not on the other street, not behind a crest."""
        return self.street.canvas.view.sees_ground(z) and not self.plan.crosses(z, 0.5)

    def _lamps(self, side: Side) -> None:
        rng = self.rng
        steel = sample_steel(rng)
        classic = bool(rng.random() < 0.25)
        height = 4.0 if classic else rng.uniform(6, 9)
        wired = bool(not classic and rng.random() < 0.2)
        s, gap = side.sign * (side.kerb + 0.45), rng.uniform(14, 26)
        for z in np.arange(rng.uniform(5, 20), FAR, gap):
            if not self._stands(z):
                continue
            self.street.add(s, z, 3.0, draw_lamp, s, z, height, steel, classic)
            self.street.shade_pole(s, z, height, 0.08)
            if wired:
                ends = (s, height, z), (s, height, z + gap)
                self.street.add(s, z + gap, gap + 1, draw_wire, *ends)

    def _avenue(self, side: Side) -> None:
        """Trees along the kerb."""
        rng = self.rng
        s = side.sign * ((side.kerb + side.path) / 2 if side.verge else side.path + 0.9)
        height = rng.uniform(5, 9)
        for z in np.arange(rng.uniform(8, 16), FAR, rng.uniform(7, 13)):
            if self._stands(z) and rng.random() < 0.85:
                self.street.tree(s, z, height * rng.uniform(0.8, 1.2))

    def _sign(self, s: float, z: float) -> None:
        rng = self.rng
        if self._stands(z):
            kinds = tuple(str(k) for k in rng.choice(SIGNS, 1 + int(rng.random() < 0.3)))
            size, steel = rng.uniform(0.65, 0.95), sample_steel(rng)
            self.street.add(s, z, 2.0, draw_sign, s, z, kinds, size, steel)
            self.street.shade_pole(s, z, 2.8, 0.05)

    def _small_things(self, side: Side) -> None:
        rng = self.rng
        if rng.random() < 0.25:
            s, steel = side.sign * (side.kerb + 0.45), sample_steel(rng)
            for z in rng.uniform(6, 20) + 1.6 * np.arange(rng.integers(3, 9)):
                if self._stands(z):
                    self.street.add(s, z, 0.5, draw_bollard, s, z, steel)
        for _ in range(rng.poisson(0.5)):
            s, z = side.sign * (side.edge - 0.5), rng.uniform(8, 40)
            self.street.add(s, z, 1.0, draw_bin, s, z)

    def _people(self, side: Side) -> None:
        """Pedestrians, alone and in groups, on the sidewalk and on zebra crossings."""
        rng = self.rng
        for _ in range(rng.poisson(3.0)):
            z = 5 + 55 * rng.random() ** 1.4
            for _ in range(int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))):
                s = side.sign * rng.uniform(side.path + 0.3, side.edge - 0.3)
                self._person(s, z + rng.normal(0, 0.4))
        for zebra in self.plan.zebras:
            if rng.random() < 0.5:
                for _ in range(int(rng.integers(1, 4))):
                    s = side.sign * rng.uniform(0, side.kerb)
                    self._person(s, zebra + rng.uniform(0.3, 2.7))

    def _person(self, s: float, z: float) -> None:
        if z > 3.5 and self.street.canvas.view.sees_ground(z):
            self.street.add(s, z, 1.0, draw_person, s, z)
            self.street.shade_box(s, z, 0.2, 0.3, 1.7)

    def _signals(self) -> None:
        """Traffic lights at the crossing, or at a stop line."""
        plan, rng = self.plan, self.rng
        if plan.zebras:
            z = plan.zebras[0] - 1.0
        elif plan.street:
            z = plan.street[0] - 1.0
        else:
            z = rng.uniform(9, 24)
        lamp, steel = int(rng.choice([0, 1, 2], p=[0.4, 0.15, 0.45])), sample_steel(rng)
        for depth in [max(z, 8.0)] + ([plan.street[1] + 1.0] if plan.street else []):
            for side in plan.sides:
                reach = rng.uniform(3, 5) if side.sign > 0 and rng.random() < 0.4 else 0.0
                s = side.sign * (side.kerb + 0.5)
                if self._stands(depth):
                    self.street.add(
                        s, depth + 0.01, 6.0, draw_traffic_light, s, depth, lamp, steel, reach
                    )
                    self.street.shade_pole(s, depth, 3.4, 0.12)
