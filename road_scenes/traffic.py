"""Vehicles on the road, cycles along it."""

from __future__ import annotations

import numpy as np

from .cars import draw_car
from .cycles import draw_bicycle, draw_motorcycle, draw_rider
from .large_vehicles import TRAM_LIVERIES, draw_bus, draw_tram, draw_truck
from .plan import FAR, Side
from .street import Street

# Length, half the width, height in metres.
_SIZE = {
    'car': (4.6, 0.95, 1.3),
    'truck': (8.6, 1.3, 3.2),
    'bus': (12.2, 1.3, 3.0),
    'motorcycle': (2.2, 0.3, 1.5),
}


class Traffic:
    """Fills a street; no two things in a lane overlap."""

    def __init__(self, street: Street) -> None:
        self.street, self.rng, self.plan = street, street.rng, street.plan
        self.view = street.canvas.view
        self._taken: list[tuple[float, float, float, float]] = []

    def fill(self) -> None:
        """Put everything on the road, first what the plan promises."""
        rng, want = self.rng, self.plan.wanted
        if 'train' in want:
            self._tram(float(rng.choice(self.plan.tracks)), rng.uniform(9, 24))
        if 'motorcycle' in want:
            if rng.random() < 0.6:
                self._try('motorcycle', 4, 11)
            if rng.random() < 0.6:
                self._park_cycles(rng.uniform(6, 14), motor=True)
        if 'rider' in want:
            self._cyclist(6, 16)
            if rng.random() < 0.4:
                self._cyclist(6, 30)
        for kind in ('bus', 'truck'):
            if kind in want:
                self._try(kind, 7, 22)
        if 'bicycle' in want:
            self._park_cycles(rng.uniform(8, 17), motor=False)
        self._flow()
        for side in self.plan.sides:
            if side.parking:
                self._park(side)

    def _claim(self, s: float, z: float, length: float, half: float) -> bool:
        """Whether there is room around (s, z), and its ground visible; if so it is taken."""
        left, right = s - half - 0.05, s + half + 0.05
        near, far = z - length / 2 - 1.2, z + length / 2 + 1.2
        if near < 3.0 or not self.view.sees_ground(z):
            return False
        if any(left < d and c < right and near < b and a < far for a, b, c, d in self._taken):
            return False
        self._taken.append((near, far, left, right))
        return True

    def _vehicle(self, kind: str, s: float, z: float, direction: int) -> bool:
        """Put a vehicle into the lane at s; False where there is no room."""
        length, half, height = _SIZE[kind]
        if not self._claim(s, z, length, half):
            return False
        rng, add = self.rng, self.street.add
        yaw = (0.0 if direction > 0 else np.pi) + rng.normal(0, 0.015)
        s += rng.normal(0, 0.12)
        near = z - length / 2
        if kind == 'car':
            add(s, near, length, draw_car, s, z, yaw)
        elif kind == 'motorcycle':
            add(s, near, length, draw_rider, s, z, yaw, True)
        else:
            add(s, near, length, draw_bus if kind == 'bus' else draw_truck, s, z, yaw)
        self.street.shade_box(s, z, half, length - 0.3, height)
        return True

    def _try(self, kind: str, low: float, high: float) -> None:
        """Put a promised vehicle somewhere with its near end between the depths low and high."""
        lanes, half = self.plan.lane_centres(), _SIZE[kind][0] / 2
        for _ in range(12):
            s, direction = lanes[int(self.rng.integers(len(lanes)))]
            gap = 5.0 if self._is_ours(s) else 0.0
            if self._vehicle(kind, s, self.rng.uniform(low + gap, high) + half, direction):
                return

    def _is_ours(self, s: float) -> bool:
        return abs(s - self.view.offset) < 1.5

    def _flow(self) -> None:
        """Ordinary traffic."""
        rng = self.rng
        density = rng.uniform(0.3, 1.0)
        for s, direction in self.plan.lane_centres():
            z = rng.uniform(12, 28) if self._is_ours(s) else rng.uniform(6, 18)
            while z < FAR:
                if rng.random() < density:
                    kind = str(rng.choice(list(_SIZE), p=[0.86, 0.05, 0.04, 0.05]))
                    self._vehicle(kind, s, z, direction)
                z += rng.uniform(7, 20)
        if self.plan.street and rng.random() < 0.5:
            near, far = self.plan.street
            z = near + (far - near) * rng.uniform(0.3, 0.7)
            s, yaw = rng.uniform(-9, 9), float(rng.choice([-np.pi / 2, np.pi / 2]))
            self.street.add(s, z - 1, 4.0, draw_car, s, z, yaw)
            self.street.shade_box(s, z, 2.2, 1.8, 1.3)

    def _park(self, side: Side) -> None:
        """Cars along the kerb."""
        rng, plan = self.rng, self.plan
        s, z = side.sign * (side.kerb - 1.1), rng.uniform(4, 9)
        full = rng.uniform(0.4, 0.95)
        while z < FAR:
            free = not plan.crosses(z, 3.0)
            free = free and all(abs(z - zebra - 1.5) > 5 for zebra in plan.zebras)
            if free and rng.random() < full:
                kind = 'truck' if rng.random() < 0.04 else 'car'
                self._vehicle(kind, s, z, side.sign if rng.random() < 0.85 else -side.sign)
            z += rng.uniform(5.2, 6.4)

    def _tram(self, s: float, z: float) -> None:
        """A tram of several modules on the track at s, its near end at z."""
        n = int(self.rng.integers(3, 6))
        livery = TRAM_LIVERIES[int(self.rng.integers(len(TRAM_LIVERIES)))]
        away = s > 0
        for i in range(n):
            middle = z + 3.5 + 7.0 * i
            ends = (i == 0, i == n - 1) if away else (i == n - 1, i == 0)
            yaw = 0.0 if away else np.pi
            self.street.add(s, middle - 3.5, 8.0, draw_tram, s, middle, yaw, livery, ends)
            self.street.shade_box(s, middle, 1.3, 7, 3.4)

    def _cyclist(self, near: float, far: float) -> None:
        """A rider along the kerb, between two depths."""
        for _ in range(8):
            side = self.plan.sides[int(self.rng.random() < 0.7)]
            s = side.sign * (side.kerb - 0.5 - (2.1 if side.parking else 0.0))
            z = self.rng.uniform(near, far)
            if self._claim(s, z, 1.9, 0.3):
                yaw = 0.0 if side.sign > 0 else np.pi
                self.street.add(s, z - 0.9, 2.0, draw_rider, s, z, yaw, False)
                self.street.shade_box(s, z, 0.2, 1.6, 1.6)
                return

    def _park_cycles(self, z: float, motor: bool) -> None:
        """A row of bicycles or motorcycles on the sidewalk."""
        rng = self.rng
        # The right side is nearer, so what stands there is larger.
        side = self.plan.sides[int(rng.random() < 0.75)]
        s = side.sign * (side.path + 0.9)
        # Far enough ahead to be inside the picture.
        z = max(z, 1 + 2.4 * abs(s - self.view.offset) * self.view.focal / self.view.width)
        across = bool(rng.random() < 0.5)
        for i in range(int(rng.integers(1, 3) if motor else rng.integers(2, 6))):
            at_s, at_z = s + rng.normal(0, 0.08), z + i * (0.75 if across else 2.0)
            yaw = (np.pi / 2 if across else 0.0) + rng.normal(0, 0.15)
            yaw += np.pi * float(not across and rng.random() < 0.5)
            draw = draw_motorcycle if motor else draw_bicycle
            self.street.add(at_s, at_z, 1.5, draw, at_s, at_z, yaw)
            self.street.shade_box(at_s, at_z, 0.3, 0.4, 0.8)
