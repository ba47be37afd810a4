"""Bicycles, motorcycles and their riders."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, lit
from .labels import Id
from .light import Colour
from .people import CLOTHES, Figure, dress
from .view import FloatArray


class _Cycle:
    """A two-wheeler in its own plane: (ahead, up) in metres, seen under an angle."""

    def __init__(
        self, canvas: Canvas, s: float, z: float, yaw: float, label: int, narrow: float
    ) -> None:
        self.canvas, self.z, self.label = canvas, z, label
        view = canvas.view
        self.scale = view.scale(z)
        self.foot = view.road(s, 0.0, z)[0]
        x = float(view.place_world([0.0, 0.0, 0.0], s, z)[0, 0])
        sine = float(np.sin(yaw + view.yaw(z) - np.arctan2(x, z)))
        # Seen from behind, wheels still have the width of their tyres.
        self.squeeze = float(np.copysign(max(abs(sine), narrow), sine or 1.0))
        self.spread = sine / self.squeeze
        self.shade = canvas.light.on((0.0, 0.0, -1.0))

    def at(self, points: list | FloatArray) -> FloatArray:
        p = np.asarray(points, np.float64).reshape(-1, 2)
        return self.foot + p * [self.scale * self.squeeze, -self.scale]

    def tube(self, points: list, width: float, colour: Colour, label: bool = True) -> None:
        thick = max(width * self.scale, 0.8)
        mark = self.label if label else None
        self.canvas.stroke(self.at(points), thick, lit(colour, self.shade), mark, self.z)

    def area(self, points: list, colour: Colour) -> None:
        self.canvas.fill(self.at(points), lit(colour, self.shade), self.label, self.z)

    def wheel(self, x: float, radius: float, tyre: float, solid: bool) -> None:
        centre = self.at([[x * self.spread, radius]])[0]
        size = (max(radius * self.scale * abs(self.squeeze), tyre * self.scale / 2, 0.8),
                max(radius * self.scale, 1.0))  # fmt: skip
        canvas = self.canvas
        if solid:
            canvas.disc(centre, size, (32, 32, 34), self.label, self.z)
            canvas.disc(centre, (size[0] * 0.55, size[1] * 0.55), lit((150, 150, 152), self.shade))
            return
        # As in Cityscapes, what is seen between the spokes counts as bicycle.
        u0, v0 = np.clip(np.floor(centre - size) - 2, 0, None).astype(int)
        u1, v1 = np.clip(np.ceil(centre + size) + 3, 0, None).astype(int)
        patch = canvas.image[v0:v1, u0:u1]
        behind = patch.copy()
        canvas.disc(centre, size, lit((96, 98, 100), self.shade), self.label, self.z)
        patch[:] = (patch * 0.25 + behind * 0.75).astype(np.uint8)
        angle = np.linspace(0, 2 * np.pi, 21)
        rim = centre + np.stack([np.cos(angle) * size[0], np.sin(angle) * size[1]], 1)
        canvas.stroke(rim, max(tyre * self.scale, 0.9), (30, 30, 32), self.label, self.z)


def _bicycle(cycle: _Cycle, frame: Colour) -> None:
    rng = cycle.canvas.rng
    for x in (-0.52, 0.52):
        cycle.wheel(x, 0.34, 0.05, solid=False)
    tubes = [[-0.52, 0.34], [-0.1, 0.3], [-0.22, 0.82], [0.36, 0.8], [-0.1, 0.3]]
    cycle.tube(tubes, 0.05, frame)
    cycle.tube([[-0.52, 0.34], [-0.2, 0.72]], 0.035, frame)
    cycle.tube([[0.52, 0.34], [0.34, 0.95], [0.46, 1.02]], 0.045, frame)
    cycle.tube([[-0.36, 0.9], [-0.1, 0.9]], 0.08, (36, 36, 38))
    if rng.random() < 0.4:
        cycle.tube([[-0.75, 0.72], [-0.3, 0.72]], 0.06, (60, 62, 64))
    reach = 0.26 * cycle.scale * (1 - abs(cycle.squeeze) * 0.8)
    bar = cycle.at([[0.36, 1.0]]) + np.array([[-reach, 0.0], [reach, 0.0]])
    cycle.canvas.stroke(bar, max(0.045 * cycle.scale, 0.8), (44, 44, 46), cycle.label, cycle.z)


def _motorcycle(cycle: _Cycle, paint: Colour, front: bool) -> None:
    for x in (-0.7, 0.72):
        cycle.wheel(x, 0.32, 0.16, solid=True)
    dark = (44, 44, 46)
    cycle.area([[-0.55, 0.32], [-0.5, 0.62], [0.45, 0.62], [0.4, 0.25], [-0.1, 0.2]], (58, 60, 62))
    cycle.tube([[-0.95, 0.36], [-0.1, 0.28]], 0.09, (150, 152, 154))
    cycle.area([[-0.95, 0.86], [-0.85, 0.68], [-0.1, 0.66], [-0.05, 0.84]], dark)
    cycle.area([[-0.1, 0.66], [-0.08, 0.92], [0.3, 0.98], [0.5, 0.8], [0.4, 0.58]], paint)
    cycle.area([[-1.0, 0.88], [-0.75, 0.62], [-0.5, 0.66], [-0.55, 0.84]], paint)
    cycle.area([[0.35, 0.65], [0.4, 1.02], [0.52, 1.18], [0.62, 1.0], [0.66, 0.7]], paint)
    cycle.tube([[0.72, 0.32], [0.42, 1.0]], 0.08, (130, 132, 134))
    cycle.tube([[0.38, 1.02], [0.2, 1.05]], 0.06, dark)
    scale, foot, z = cycle.scale, cycle.foot, cycle.z
    canvas = cycle.canvas
    if abs(cycle.squeeze) < 0.6:  # handlebars, mirrors, lamp
        bar = foot + np.array([[-0.36, -1.04], [0.36, -1.04]]) * scale
        canvas.stroke(bar, max(0.06 * scale, 0.8), dark, cycle.label, z)
        for side in (-1, 1):
            mirror = foot + np.array([0.4 * side, -1.2]) * scale
            canvas.disc(mirror, 0.07 * scale + 0.3, dark, cycle.label, z)
        lamp = foot + np.array([0, -0.82]) * scale
        colour = (235, 240, 240) if front else (40, 30, 200)
        canvas.disc(lamp, 0.1 * scale + 0.3, colour, cycle.label, z)


def draw_bicycle(canvas: Canvas, s: float, z: float, yaw: float) -> None:
    """A parked bicycle; yaw 0 shows it from behind, pi / 2 from its right side."""
    rng = canvas.rng
    frame = lit(CLOTHES[int(rng.integers(len(CLOTHES)))], 1.1)
    _bicycle(_Cycle(canvas, s, z, yaw, Id.BICYCLE, 0.16), frame)


def draw_motorcycle(canvas: Canvas, s: float, z: float, yaw: float) -> None:
    """A parked motorcycle."""
    rng = canvas.rng
    paint = lit(CLOTHES[int(rng.integers(len(CLOTHES)))], 1.1)
    _motorcycle(_Cycle(canvas, s, z, yaw, Id.MOTORCYCLE, 0.3), paint, bool(np.cos(yaw) < 0))


def draw_rider(canvas: Canvas, s: float, z: float, yaw: float, motor: bool) -> None:
    """A rider on a bicycle or a motorcycle."""
    rng = canvas.rng
    jacket, trousers, skin, hair = dress(rng)
    label = Id.MOTORCYCLE if motor else Id.BICYCLE
    cycle = _Cycle(canvas, s, z, yaw, label, 0.3 if motor else 0.16)
    away = bool(np.cos(yaw) >= 0)
    paint = lit(CLOTHES[int(rng.integers(len(CLOTHES)))], 1.1)
    if motor:
        _motorcycle(cycle, paint, not away)
    else:
        _bicycle(cycle, paint)
    f = Figure(canvas, cycle.foot, z, 1.0, Id.RIDER)
    k = cycle.squeeze
    wide = 0.21 - 0.06 * abs(k)
    spread = 0.14 * (1 - abs(k)) + 0.02
    seat = (-0.35, 0.86) if motor else (-0.23, 0.95)
    pedal = (0.0, 0.3) if motor else (-0.1, 0.2)
    knee = (0.15, 0.7) if motor else (0.12, 0.62)
    lift = 0.0 if motor else 0.24
    for side in (-1, 1):
        dx = side * spread
        high = lift if side > 0 else 0.0
        f.limb(
            [[seat[0] * k + dx * 0.6, seat[1]], [knee[0] * k + dx * 1.3, knee[1] + high * 0.7],
             [pedal[0] * k + dx, pedal[1] + high]],
            0.14, trousers, 0.85 + 0.1 * side,
        )  # fmt: skip
    lean = 0.12 if motor else 0.22
    chest = ((seat[0] + lean) * k, seat[1] + 0.52)
    f.body(
        [[chest[0] - wide, chest[1]], [chest[0] + wide, chest[1]],
         [seat[0] * k + wide * 0.85, seat[1] - 0.06], [seat[0] * k - wide * 0.85, seat[1] - 0.06]],
        jacket,
    )  # fmt: skip
    hand = (0.34 * k, 1.03)
    for side in (-1, 1):
        f.limb(
            [[chest[0] + side * wide * 0.85, chest[1] - 0.05],
             [(chest[0] + hand[0]) / 2 + side * (wide + 0.06 * (1 - abs(k))), 1.16],
             [hand[0] + side * 0.24 * (1 - abs(k)), hand[1]]],
            0.09, jacket, 0.85,
        )  # fmt: skip
    x, y = chest[0] + 0.08 * k, chest[1] + 0.17
    helmet = motor or rng.random() < 0.5
    cap = lit(CLOTHES[int(rng.integers(len(CLOTHES)))], 1.2) if helmet else hair
    f.head(x, y, skin, cap, away or motor)
    if motor and not away:
        visor = f.at([[x, y]])[0]
        canvas.disc(visor, (0.09 * f.scale, 0.06 * f.scale), (40, 38, 36))
