"""Buses, trucks and trams."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, lit
from .labels import Id
from .light import Colour
from .solid import (
    GLASS,
    GLOWING_HEAD,
    GLOWING_TAIL,
    HEAD,
    PAINTS,
    PLATE,
    TAIL,
    Solid,
    Wheels,
    draw_solid,
    draw_underside,
    draw_wheels,
    sample_paint,
)


def draw_bus(canvas: Canvas, s: float, z: float, yaw: float) -> None:
    """A city bus of 12 m, its centre at (s, z)."""
    rng = canvas.rng
    liveries: tuple[tuple[Colour, Colour], ...] = (
        ((40, 190, 240), (60, 60, 62)), ((48, 44, 190), (50, 50, 54)),
        ((170, 110, 40), (60, 60, 62)), ((80, 140, 40), (225, 228, 230)),
    )  # fmt: skip
    paint, stripe = liveries[int(rng.integers(4))]
    half, height, rear, front = 1.27, 3.05, -6.0, 6.0
    p = [
        (rear, 0.32), (rear, 1.5), (rear + 0.05, height - 0.2), (rear + 0.3, height),
        (front - 0.3, height), (front - 0.05, height - 0.2), (front, 1.2), (front, 0.3),
    ]  # fmt: skip
    colours = [paint] * 8
    colours[7] = (24, 24, 26)
    flats: list[tuple[list[tuple[float, float]], Colour]] = []

    def box(a: float, b: float, y0: float, y1: float, colour: Colour) -> None:
        flats.append(([(a, y0), (a, y1), (b, y1), (b, y0)], colour))

    box(rear, front, 0.32, 0.75, stripe)
    for i in range(8):
        a = rear + 0.35 + i * 1.42
        box(a, a + 1.3, 1.35, 2.5, GLASS)
        box(a + 0.1, a + 0.55, 1.5, 2.4, lit(GLASS, 1.5))
    for a in (-2.3, 1.1, 4.3):
        box(a, a + 1.2, 0.4, 2.5, (60, 58, 56))
        box(a + 0.57, a + 0.63, 0.4, 2.5, lit(paint, 0.8))
    patches = [
        (1, -0.85, 0.85, 0.25, 0.9, GLASS),
        (1, -0.6, 0.0, 0.35, 0.8, lit(GLASS, 1.5)),
        (0, -0.75, 0.75, 0.45, 0.95, lit(paint, 0.72)),
        (0, -0.96, -0.8, 0.3, 0.95, TAIL),
        (0, 0.8, 0.96, 0.3, 0.95, TAIL),
        (0, -0.2, 0.2, 0.15, 0.32, PLATE),
        (0, -1.0, 1.0, 0.0, 0.1, (40, 40, 42)),
        (5, -0.93, 0.93, 0.0, 0.98, GLASS),
        (5, -0.1, 0.75, 0.3, 0.8, lit(GLASS, 1.5)),
        (5, -0.7, 0.7, 0.04, 0.2, (40, 170, 250)),
        (6, -0.93, -0.6, 0.35, 0.6, HEAD),
        (6, 0.6, 0.93, 0.35, 0.6, HEAD),
        (6, -0.25, 0.25, 0.6, 0.75, PLATE),
        (6, -1.0, 1.0, 0.8, 1.0, stripe),
    ]
    lamps = [(0, a, 0.6, GLOWING_TAIL) for a in (-0.88, 0.88)]
    lamps += [(6, a, 0.5, GLOWING_HEAD) for a in (-0.78, 0.78)]
    wheels = Wheels((-3.2, 3.3), 0.48, half)
    draw_underside(canvas, wheels, Id.BUS, (s, z, yaw), (rear + 0.3, front - 0.3, 0.5))
    draw_solid(canvas, Solid(p, half, colours, paint, Id.BUS, flats, patches, lamps), s, z, yaw)
    draw_wheels(canvas, wheels, Id.BUS, (s, z, yaw))


def draw_truck(canvas: Canvas, s: float, z: float, yaw: float) -> None:
    """A truck of 8.4 m: a cab and a box, a curtain-sided body or a tipper; its centre at (s, z)."""
    rng = canvas.rng
    cab_paint = sample_paint(rng)
    kind = str(rng.choice(['box', 'curtain', 'tipper']))
    cargo = {
        'box': (222, 226, 228),
        'curtain': (PAINTS[4], PAINTS[5], (60, 120, 60), (40, 140, 220))[int(rng.integers(4))],
        'tipper': (60, 130, 190),
    }[kind]
    half, rear, gap, front = 1.25, -4.2, 1.9, 4.2
    top = 2.3 if kind == 'tipper' else rng.uniform(3.2, 3.7)
    body = [(rear, 0.95), (rear, top), (gap, top), (gap, 0.95)]
    seams: list[tuple[list[tuple[float, float]], Colour]] = []
    step = 0.75 if kind == 'tipper' else 1.5
    for a in np.arange(rear + step, gap, step):
        seams.append(([(a, 0.95), (a, top), (a + 0.07, top), (a + 0.07, 0.95)], lit(cargo, 0.78)))
    seams.append(([(rear, 0.95), (rear, 1.12), (gap, 1.12), (gap, 0.95)], (70, 72, 74)))
    if kind == 'box':
        sign = lit(PAINTS[int(rng.integers(4, 8))], 1.1)
        seams.append(([(-3.0, 1.9), (-3.0, 2.6), (0.6, 2.6), (0.6, 1.9)], sign))
    rear_patches = [
        (0, -0.02, 0.02, 0.05, 0.97, lit(cargo, 0.55)),
        (0, -1.0, 1.0, 0.0, 0.07, (60, 62, 64)),
        (0, -1.0, -0.95, 0.0, 1.0, lit(cargo, 0.7)),
        (0, 0.95, 1.0, 0.0, 1.0, lit(cargo, 0.7)),
        *((0, a, a + 0.03, 0.1, 0.95, lit(cargo, 0.7)) for a in (-0.62, -0.3, 0.28, 0.6)),
    ]
    cargo_solid = Solid(body, half, [cargo] * 4, cargo, Id.TRUCK, seams, rear_patches)
    cab = [(gap + 0.15, 0.45), (gap + 0.15, 2.75), (front - 0.5, 2.8), (front - 0.12, 1.6),
           (front, 1.2), (front, 0.4)]  # fmt: skip
    cab_solid = Solid(
        cab, 1.2, [cab_paint] * 5 + [(24, 24, 26)], cab_paint, Id.TRUCK,
        [([(gap + 0.7, 1.6), (gap + 0.7, 2.5), (front - 0.62, 2.5), (front - 0.3, 1.6)], GLASS),
         ([(gap + 0.3, 1.45), (gap + 0.3, 1.52), (front - 0.1, 1.52), (front - 0.1, 1.45)],
          lit(cab_paint, 0.7))],
        [(2, -0.92, 0.92, 0.22, 0.95, GLASS), (2, -0.2, 0.7, 0.3, 0.7, lit(GLASS, 1.5)),
         (4, -0.95, -0.6, 0.3, 0.6, HEAD), (4, 0.6, 0.95, 0.3, 0.6, HEAD),
         (3, -0.7, 0.7, 0.1, 0.9, (50, 50, 52)), (4, -0.25, 0.25, 0.55, 0.75, PLATE),
         (4, -1.0, 1.0, 0.75, 1.0, (56, 56, 58))],
        [(4, a, 0.45, GLOWING_HEAD) for a in (-0.78, 0.78)],
    )  # fmt: skip
    bumper = Solid(
        [(rear, 0.45), (rear, 0.7), (rear + 0.2, 0.7), (rear + 0.2, 0.45)], 1.15,
        [(58, 58, 60)] * 4, (58, 58, 60), Id.TRUCK, [],
        [(0, -0.98, -0.72, 0.1, 0.9, TAIL), (0, 0.72, 0.98, 0.1, 0.9, TAIL),
         (0, -0.2, 0.2, 0.1, 0.9, PLATE)],
        [(0, a, 0.5, GLOWING_TAIL) for a in (-0.85, 0.85)],
    )  # fmt: skip
    wheels = Wheels((-2.6, 3.0), 0.5, 1.22)
    draw_underside(canvas, wheels, Id.TRUCK, (s, z, yaw), (rear + 0.3, front - 0.2, 0.98))
    parts = [cab_solid, cargo_solid, bumper]
    if np.cos(yaw + canvas.view.yaw(z)) < -0.2:
        parts.reverse()
    for part in parts:
        draw_solid(canvas, part, s, z, yaw)
    draw_wheels(canvas, wheels, Id.TRUCK, (s, z, yaw))


def draw_tram(
    canvas: Canvas,
    s: float,
    z: float,
    yaw: float,
    livery: tuple[Colour, Colour],
    module: tuple[bool, bool],
) -> None:
    """One module of 7 m of a tram, its centre at (s, z).

    ``module`` says whether it is the tram's last and its first: those have a driver's cab.
    """
    paint, stripe = livery
    last, first = module
    half, height, rear, front = 1.25, 3.35, -3.5, 3.5
    slope_r, slope_f = (0.7 if last else 0.0), (0.7 if first else 0.0)
    p = [(rear, 0.18), (rear, 1.3), (rear + slope_r, height - 0.3), (rear + slope_r + 0.15, height),
         (front - slope_f - 0.15, height), (front - slope_f, height - 0.3), (front, 1.3),
         (front, 0.18)]  # fmt: skip
    bellows = (52, 52, 54)
    colours: list[Colour] = [stripe, paint, paint, (120, 122, 124), paint, paint, stripe, bellows]
    if not last:
        colours[0] = colours[1] = bellows
    if not first:
        colours[5] = colours[6] = bellows
    flats: list[tuple[list[tuple[float, float]], Colour]] = []

    def box(a: float, b: float, y0: float, y1: float, colour: Colour) -> None:
        flats.append(([(a, y0), (a, y1), (b, y1), (b, y0)], colour))

    a0, b0 = rear + slope_r * 0.8 + 0.1, front - slope_f * 0.8 - 0.1
    box(rear, front, 0.18, 1.0, stripe)
    box(rear, front, 0.18, 0.34, (58, 58, 60))
    box(a0, b0, 1.35, 2.6, (52, 48, 46))
    for a in np.arange(a0 + 0.15, b0 - 1.0, 1.3):
        box(a, a + 0.5, 1.45, 2.5, lit(GLASS, 1.35))
    box(-0.7, 0.7, 0.4, 2.65, lit(paint, 0.75))
    for a in (-0.6, 0.05):
        box(a, a + 0.55, 0.6, 2.5, (60, 56, 52))
    patches = []
    for edge, shown in ((1, last), (5, first)):
        if shown:
            b = (0.05, 0.95)
            patches += [
                (edge, -0.9, 0.9, *b, (52, 48, 46)),
                (edge, -0.5, 0.3, 0.3, 0.7, lit(GLASS, 1.4)),
                (edge, -0.5, 0.5, *((0.8, 0.95) if edge == 1 else (0.05, 0.2)), (40, 170, 250)),
            ]
    for edge, shown, colour in ((0, last, TAIL), (6, first, HEAD)):
        if shown:
            b0, b1 = (0.55, 0.75) if edge == 0 else (0.25, 0.45)
            patches += [(edge, -0.9, -0.6, b0, b1, colour), (edge, 0.6, 0.9, b0, b1, colour)]
    solid = Solid(p, half, colours, paint, Id.TRAIN, flats, patches)
    solid.lamps = [(6, a, 0.35, GLOWING_HEAD) for a in (-0.75, 0.75)] if first else []
    draw_solid(canvas, solid, s, z, yaw)
    if first:  # pantograph
        view = canvas.view
        lines = np.array([[0, height, -1.5], [0, height + 0.8, -0.3], [0, height + 1.6, -1.3]])
        canvas.stroke(
            view.place(lines, s, z, yaw), max(0.06 * view.scale(z), 0.8), (60, 60, 64), Id.TRAIN, z
        )
        bow = np.array([[-0.9, height + 1.6, -1.3], [0.9, height + 1.6, -1.3]])
        canvas.stroke(
            view.place(bow, s, z, yaw), max(0.06 * view.scale(z), 0.8), (60, 60, 64), Id.TRAIN, z
        )


TRAM_LIVERIES: tuple[tuple[Colour, Colour], ...] = (
    ((232, 234, 234), (40, 40, 190)),
    ((215, 220, 222), (30, 130, 240)),
    ((230, 232, 232), (110, 130, 30)),
    ((226, 230, 232), (140, 50, 110)),
)
