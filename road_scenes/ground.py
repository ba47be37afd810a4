"""The ground, shaded pixel by pixel in road coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import texture
from .canvas import Canvas, lit
from .labels import Id
from .light import Colour, as_array
from .plan import Plan, Side

_INF = 1e4
_WHITE: Colour = (222, 226, 226)


class Ground:
    """Paints strips of ground given in road coordinates, with exact coverage at their edges."""

    def __init__(self, canvas: Canvas) -> None:
        view = canvas.view
        self.canvas = canvas
        self.top, rows = view.ground_rows()
        u = np.arange(view.width, dtype=np.float32)
        self.z = rows.astype(np.float32)[:, None]
        self.s = (u[None] - view.width / 2) * self.z / view.focal + (
            view.offset - view.bend(rows)[:, None]
        ).astype(np.float32)
        self.pixel_s = self.z / np.float32(view.focal)  # metres per pixel, across
        self.pixel_z = np.maximum(np.abs(np.gradient(self.z, axis=0)), 1e-3)  # and along
        self.colour = np.zeros((*self.s.shape, 3), np.float32)
        self.label = np.full(self.s.shape, int(Id.TERRAIN), np.uint8)

    def across(self, a: float, b: float) -> NDArray[np.float32]:
        """Coverage (H, W) of a <= s <= b."""
        left = np.clip((self.s - a) / self.pixel_s + 0.5, 0, 1)
        return np.minimum(left, np.clip((b - self.s) / self.pixel_s + 0.5, 0, 1))

    def along(self, a: float, b: float) -> NDArray[np.float32]:
        """Coverage (H, 1) of a <= z <= b."""
        near = np.clip((self.z - a) / self.pixel_z + 0.5, 0, 1)
        return np.minimum(near, np.clip((b - self.z) / self.pixel_z + 0.5, 0, 1))

    def paint(self, cover: NDArray, colour: Colour, label: int | None = None) -> None:
        """Lay a colour over the ground; where it covers half a pixel, its label as well."""
        cover = np.broadcast_to(cover, self.s.shape)
        rows = np.flatnonzero(cover.any(1))
        if not len(rows):
            return
        cut = slice(rows[0], rows[-1] + 1)
        self.colour[cut] += cover[cut, :, None] * (as_array(colour) - self.colour[cut])
        if label is not None:
            self.label[cut][cover[cut] >= 0.5] = label

    def dashes(self, on: float, period: float, phase: float) -> NDArray[np.float32]:
        """Coverage (H, 1) of a dashed line along z; it fades to its mean in the distance."""
        t = np.abs(np.mod(self.z + phase, period) - period / 2)
        sharp = np.clip((on / 2 - t) / self.pixel_z + 0.5, 0, 1)
        blend = np.clip(self.pixel_z / period - 0.5, 0, 1)
        return sharp * (1 - blend) + blend * on / period


def _side(g: Ground, rng: np.random.Generator, side: Side, paving: Colour, grass: Colour) -> None:
    def strip(a: float, b: float) -> NDArray[np.float32]:
        return g.across(a, b) if side.sign > 0 else g.across(-b, -a)

    for segment in side.segments:
        if segment.kind in ('building', 'street'):
            cover = strip(side.edge, _INF) * g.along(segment.z0, segment.z1)
            g.paint(cover, lit(paving, 0.93), Id.SIDEWALK)
    if side.verge:
        g.paint(strip(side.kerb, side.path), grass, Id.TERRAIN)
    g.paint(strip(side.path, side.edge), paving, Id.SIDEWALK)
    pitch = rng.uniform(0.5, 1.2)
    sharp = np.clip(1 - g.pixel_z / 0.35, 0, 1) * 0.22
    joints = np.clip(0.5 - np.abs(np.mod(g.z, pitch) - pitch / 2) / g.pixel_z, 0, 1)
    g.paint(strip(side.path, side.edge) * joints * sharp, (70, 74, 78))
    if rng.random() < 0.6:
        middle = side.path + side.walk / 2
        g.paint(strip(middle - 0.03, middle + 0.03) * 0.25, (70, 74, 78))
    light = rng.uniform(1.05, 1.3)
    g.paint(strip(side.kerb, side.kerb + 0.22), lit(paving, light), Id.SIDEWALK)
    g.paint(strip(side.kerb - 0.12, side.kerb) * 0.6, (44, 44, 46))


def _markings(g: Ground, rng: np.random.Generator, plan: Plan) -> None:
    worn = rng.uniform(0.65, 1.0)
    phase = rng.uniform(0, 9)
    half = rng.uniform(0.06, 0.09)
    keep = np.ones_like(g.z)
    if plan.street:
        keep = 1 - g.along(plan.street[0] - 0.5, plan.street[1] + 0.5)
    for z in plan.zebras:
        keep = keep * (1 - g.along(z - 1.2, z + 4.2))
    dashed = g.dashes(3.0, 9.0, phase)
    if plan.median == 0:
        if rng.random() < 0.3:
            for s in (-0.14, 0.14):
                g.paint(g.across(s - half, s + half) * keep * worn, _WHITE)
        else:
            g.paint(g.across(-half, half) * dashed * keep * worn, _WHITE)
    for sign in (-1, 1):
        for i in range(1, plan.lanes):
            s = sign * (plan.median + i * plan.lane_width)
            g.paint(g.across(s - half, s + half) * dashed * keep * worn, _WHITE)
    for side in plan.sides:
        s = side.sign * (plan.median + plan.lanes * plan.lane_width + 0.1)
        if side.parking:
            g.paint(g.across(s - half, s + half) * g.dashes(0.6, 1.2, 0) * keep * worn, _WHITE)
        elif rng.random() < 0.5:
            g.paint(g.across(s - half, s + half) * keep * worn, _WHITE)
    for z in plan.zebras:
        bars = np.clip((0.25 - np.abs(np.mod(g.s, 1.0) - 0.5)) / g.pixel_s + 0.5, 0, 1)
        across = g.across(-plan.sides[0].kerb + 0.3, plan.sides[1].kerb - 0.3)
        g.paint(bars * across * g.along(z, z + 3.0) * worn, _WHITE)
        stop = g.across(plan.median + 0.2, plan.median + plan.lanes * plan.lane_width)
        g.paint(stop * g.along(z - 1.6, z - 1.15) * worn, _WHITE)


def _patches(g: Ground, rng: np.random.Generator, plan: Plan) -> None:
    """Repairs, tyre tracks and manholes."""
    middle = np.mod(np.abs(g.s) - plan.median, plan.lane_width) - plan.lane_width / 2
    worn = np.clip(1 - np.abs(np.abs(middle) - 0.75) / 0.5, 0, 1) * 0.12
    edge = plan.median + plan.lanes * plan.lane_width
    g.paint(worn * g.across(-edge, edge), (52, 52, 54))
    for _ in range(int(rng.integers(1, 5))):
        s = rng.uniform(-plan.sides[0].kerb, plan.sides[1].kerb)
        z, shade = rng.uniform(4, 40), rng.uniform(48, 120)
        cover = g.across(s, s + rng.uniform(0.6, 2.5)) * g.along(z, z + rng.uniform(1, 9))
        g.paint(cover * g.across(-plan.sides[0].kerb, plan.sides[1].kerb) * 0.5, (shade,) * 3)
    for _ in range(int(rng.integers(0, 4))):
        s = rng.uniform(-plan.sides[0].kerb + 1, plan.sides[1].kerb - 1)
        z = rng.uniform(5, 25)
        radius = np.hypot(g.s - s, g.z - z)
        g.paint(np.clip((0.35 - radius) / g.pixel_z + 0.5, 0, 1) * 0.7, (50, 52, 56))


def draw_ground(canvas: Canvas, rng: np.random.Generator, plan: Plan, shadow: NDArray) -> None:
    """Paint everything below the horizon.

    Args:
        canvas: Drawn on; nothing else may have been drawn there.
        rng: Source of chance.
        plan: The street.
        shadow: Share of the sun that is hidden, (H, W) uint8.
    """
    g = Ground(canvas)
    if not g.s.size:
        return
    grey = rng.uniform(84, 124)
    road: Colour = (grey * rng.uniform(0.97, 1.03), grey, grey * rng.uniform(0.97, 1.03))
    tone, warm = rng.uniform(138, 180), rng.uniform(0, 1)
    paving: Colour = (tone * (1 - 0.16 * warm), tone * (1 - 0.05 * warm), tone * (1 + 0.03 * warm))
    if rng.random() < 0.25:  # red clinker
        paving = (tone * 0.62, tone * 0.70, tone * 1.0)
    dry = rng.uniform(0, 1)
    grass: Colour = (52 + 25 * dry, 122 + 20 * dry, 92 + 55 * dry)

    g.colour[:] = grass
    for side in plan.sides:
        _side(g, rng, side, paving, grass)
    g.paint(g.across(-plan.sides[0].kerb, plan.sides[1].kerb), road, Id.ROAD)
    _patches(g, rng, plan)
    if plan.bed:
        bed = g.across(-plan.median, plan.median)
        rim = 0.15
        if plan.bed == 'terrain':
            g.paint(bed, grass, Id.TERRAIN)
            for s in (-plan.median, plan.median - rim):
                g.paint(g.across(s, s + rim), lit(paving, 1.05), Id.SIDEWALK)
        else:
            g.paint(bed * 0.5, (112, 116, 120))
    if plan.street:
        g.paint(np.broadcast_to(g.along(*plan.street), g.s.shape), road, Id.ROAD)
    _markings(g, rng, plan)
    for track in plan.tracks:
        for s in (track - 0.72, track + 0.72):
            g.paint(g.across(s - 0.16, s + 0.16) * 0.55, (58, 60, 64))
            # Polished steel mirrors the sky and stays visible far away.
            g.paint(np.minimum(g.across(s - 0.05, s + 0.05) * 1.6, 1), (205, 200, 196))

    amplitude = np.zeros(256, np.float32)
    amplitude[[Id.ROAD, Id.SIDEWALK, Id.TERRAIN]] = 0.055, 0.05, 0.15
    amount = amplitude[g.label]
    offset = rng.uniform(0, texture.TILE, 4)
    coarse = texture.sample(texture.fractal(1.2), g.s * 24 + offset[0], g.z * 10 + offset[1])
    fine = texture.sample(texture.fractal(0.3), g.s * 60 + offset[2], g.z * 40 + offset[3])
    fine *= np.clip(1.3 - g.pixel_z / 0.25, 0, 1)
    coarse *= np.clip(1.3 - g.pixel_z / 2.0, 0.1, 1)
    noise = 1 + amount * (0.8 * coarse + 0.8 * fine)
    light = canvas.light.on((0.0, 1.0, 0.0))
    dark = canvas.light.shadow()
    shade = light * (1 - shadow[g.top :].astype(np.float32) * ((1 - dark) / 255))
    g.colour *= (noise * shade)[..., None]
    canvas.image[g.top :] = np.clip(g.colour, 0, 255).astype(np.uint8)
    canvas.label[g.top :] = g.label
    canvas.depth[g.top :] = g.z
