"""Cars."""

from __future__ import annotations

from dataclasses import dataclass

from .canvas import Canvas, lit
from .labels import Id
from .solid import (
    GLASS,
    GLOWING_HEAD,
    GLOWING_TAIL,
    HEAD,
    PLATE,
    TAIL,
    Solid,
    Wheels,
    draw_solid,
    draw_underside,
    draw_wheels,
    sample_paint,
)

Outline = list[tuple[float, float]]  # (ahead, up) in metres


@dataclass(frozen=True)
class _Shape:
    """A kind of car: its side profile, as in Solid, and its side windows.

    ``screens`` are the edges of the profile with the rear window and the windscreen. Edge 0 is the
    rear bumper, edge 1 carries the tail lights, the third last one the headlights.
    """

    profile: Outline
    windows: tuple[Outline, ...]
    screens: tuple[int, int]
    half: float
    axles: tuple[float, float]


# fmt: off
_SEDAN = _Shape(
    [(-2.25, 0.3), (-2.3, 0.62), (-2.2, 0.98), (-1.65, 1.02), (-1.0, 1.43), (0.3, 1.46),
     (1.1, 1.0), (2.05, 0.84), (2.25, 0.6), (2.22, 0.28)],
    ([(-1.45, 1.04), (-0.95, 1.36), (-0.25, 1.38), (-0.25, 1.04)],
     [(-0.17, 1.04), (-0.17, 1.38), (0.28, 1.38), (0.88, 1.04)]),
    (3, 5), 0.9, (-1.35, 1.4),
)
_HATCH = _Shape(
    [(-1.9, 0.3), (-1.97, 0.62), (-1.9, 1.0), (-1.62, 1.45), (0.2, 1.5),
     (1.0, 1.02), (1.8, 0.86), (1.97, 0.6), (1.95, 0.28)],
    ([(-1.62, 1.06), (-1.45, 1.4), (-0.4, 1.42), (-0.4, 1.06)],
     [(-0.32, 1.06), (-0.32, 1.42), (0.2, 1.42), (0.78, 1.06)]),
    (2, 4), 0.87, (-1.2, 1.22),
)
_SUV = _Shape(
    [(-2.2, 0.38), (-2.28, 0.75), (-2.2, 1.16), (-1.95, 1.68), (0.2, 1.74),
     (1.05, 1.2), (2.1, 1.06), (2.25, 0.75), (2.22, 0.36)],
    ([(-1.95, 1.2), (-1.78, 1.6), (-0.4, 1.64), (-0.4, 1.2)],
     [(-0.32, 1.2), (-0.32, 1.64), (0.2, 1.64), (0.82, 1.2)]),
    (2, 4), 0.95, (-1.38, 1.4),
)
_PANEL_VAN = _Shape(
    [(-2.4, 0.35), (-2.45, 0.8), (-2.42, 1.2), (-2.3, 1.92), (1.1, 1.96),
     (1.85, 1.16), (2.35, 1.0), (2.45, 0.65), (2.42, 0.33)],
    ([(0.05, 1.22), (0.05, 1.82), (1.05, 1.82), (1.6, 1.22)],),
    (2, 4), 0.95, (-1.55, 1.6),
)
_MINIBUS = _Shape(
    _PANEL_VAN.profile,
    (*_PANEL_VAN.windows, [(-2.2, 1.22), (-2.15, 1.82), (-0.1, 1.82), (-0.1, 1.22)]),
    _PANEL_VAN.screens, _PANEL_VAN.half, _PANEL_VAN.axles,
)
# fmt: on
_SHAPES = (_SEDAN, _HATCH, _SUV, _PANEL_VAN, _MINIBUS)
_ODDS = (0.34, 0.32, 0.22, 0.06, 0.06)


def draw_car(canvas: Canvas, s: float, z: float, yaw: float) -> None:
    """A car of any kind, its centre at (s, z)."""
    rng = canvas.rng
    shape = _SHAPES[int(rng.choice(len(_SHAPES), p=_ODDS))]
    paint = sample_paint(rng)
    p, n = shape.profile, len(shape.profile)
    colours = [paint] * n
    for edge in shape.screens:
        colours[edge] = GLASS
    colours[n - 1] = (24, 24, 26)
    back, front, nose = *shape.screens, n - 3
    black, shiny, dark = (42, 42, 44), lit(GLASS, 1.6), lit(paint, 0.62)
    patches = [
        (back, -1.0, -0.88, 0.0, 1.0, paint),
        (back, 0.88, 1.0, 0.0, 1.0, paint),
        (front, -1.0, -0.9, 0.0, 1.0, paint),
        (front, 0.9, 1.0, 0.0, 1.0, paint),
        (back, -0.8, 0.1, 0.62, 0.95, shiny),
        (front, -0.1, 0.8, 0.05, 0.4, shiny),
        (1, -0.98, -0.66, 0.3, 0.92, TAIL),
        (1, 0.66, 0.98, 0.3, 0.92, TAIL),
        (1, -0.26, 0.26, 0.15, 0.5, PLATE),
        (0, -0.95, 0.95, 0.0, 0.35, black),
        (0, -0.98, 0.98, 0.75, 0.95, lit(paint, 1.05)),
        (nose, -0.96, -0.62, 0.1, 0.85, HEAD),
        (nose, 0.62, 0.96, 0.1, 0.85, HEAD),
        (nose, -0.5, 0.5, 0.35, 0.95, black),
        (nose + 1, -0.7, 0.7, 0.5, 0.95, black),
        (nose + 1, -0.25, 0.25, 0.15, 0.45, PLATE),
    ]
    lamps = [(1, a, 0.6, GLOWING_TAIL) for a in (-0.82, 0.82)]
    lamps += [(nose, a, 0.45, GLOWING_HEAD) for a in (-0.8, 0.8)]
    rear, end = p[0][0], p[-1][0]
    sill, belt = p[0][1], shape.windows[0][0][1] - 0.12
    flats = [(window, GLASS) for window in shape.windows]
    flats.append(([(rear, sill), (rear, sill + 0.1), (end, sill + 0.1), (end, sill)], dark))
    crease = [(rear + 0.1, belt - 0.03), (rear + 0.1, belt), (1.6, belt - 0.06), (1.6, belt - 0.09)]
    flats.append((crease, dark))
    wheels = Wheels(shape.axles, 0.33, shape.half)
    draw_underside(canvas, wheels, Id.CAR, (s, z, yaw), (rear + 0.15, end - 0.15, 0.4))
    body = Solid(p, shape.half, colours, paint, Id.CAR, flats, patches, lamps, 0.26, belt + 0.12)
    draw_solid(canvas, body, s, z, yaw)
    draw_wheels(canvas, wheels, Id.CAR, (s, z, yaw))
