"""Houses along the street, drawn bay by bay, and the skyline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, lit
from .labels import Id
from .light import Colour
from .vegetation import crown
from .view import FloatArray

Numbers = Sequence[float] | FloatArray

_WALLS: tuple[Colour, ...] = (
    (86, 98, 150),  # brick
    (70, 84, 128),
    (150, 190, 210),  # cream
    (165, 200, 205),
    (190, 195, 198),  # plaster
    (140, 145, 150),  # concrete
    (120, 165, 205),  # ochre
    (135, 155, 190),  # pink
    (170, 160, 140),
    (205, 210, 212),
)
_ROOFS: tuple[Colour, ...] = ((58, 70, 120), (70, 74, 84), (60, 62, 66), (70, 90, 140))
_AWNINGS: tuple[Colour, ...] = ((50, 50, 170), (120, 70, 40), (60, 110, 50), (60, 150, 200))


@dataclass(frozen=True)
class House:
    """The looks of a house; lengths in metres."""

    floors: int
    floor: float
    ground_floor: float
    bay: float
    wall: Colour
    trim: Colour
    glass: Colour
    roof: Colour
    pitch: float
    window: tuple[float, float]
    shop: bool
    awning: Colour | None

    @property
    def height(self) -> float:
        """Height of the eaves."""
        return self.ground_floor + self.floor * self.floors


def sample_house(rng: np.random.Generator, low: bool) -> House:
    """Draw a house: one of a city's street, or a low one."""
    wall = _WALLS[int(rng.integers(len(_WALLS)))]
    tone = rng.uniform(0.85, 1.12)
    glass = rng.uniform(50, 105)
    shop = bool(not low and rng.random() < 0.45)
    return House(
        floors=int(rng.integers(1, 3) if low else rng.integers(2, 7)),
        floor=rng.uniform(2.8, 3.4),
        ground_floor=rng.uniform(3.2, 4.2),
        bay=rng.uniform(2.2, 3.6),
        wall=lit(wall, tone),
        trim=lit((215, 220, 224), rng.uniform(0.55, 1.05)),
        glass=(glass * 1.12, glass * 1.03, glass * 0.92),
        roof=_ROOFS[int(rng.integers(len(_ROOFS)))],
        pitch=rng.uniform(2.2, 4.0) if low or rng.random() < 0.45 else 0.0,
        window=(rng.uniform(0.4, 0.62), rng.uniform(0.45, 0.66)),
        shop=shop,
        awning=_AWNINGS[int(rng.integers(len(_AWNINGS)))] if shop and rng.random() < 0.5 else None,
    )


class Facade:
    """A vertical wall between two points in plan, seen from the street."""

    def __init__(
        self, canvas: Canvas, start: tuple[float, float], end: tuple[float, float], house: House
    ) -> None:
        self.canvas, self.house = canvas, house
        view = canvas.view
        # A wall is straight, and its courses are level, whatever the road does in front of it.
        self.z = np.array([start[1], end[1]])
        self.x = np.array([start[0], end[0]]) - view.offset + view.bend(self.z)
        self.depth = max(float(self.z.mean()), 1.0)
        self.level = float(view.elevation(self.depth))
        self.right = start[0] > 0
        self.along = start[1] != end[1]
        normal = (-1.0 if self.right else 1.0, 0.0, 0.0) if self.along else (0.0, 0.0, -1.0)
        self.brightness = canvas.light.on(normal)

    def quads(self, t0: Numbers, t1: Numbers, y0: Numbers, y1: Numbers) -> FloatArray:
        """Pixels (N, 4, 2) of rectangles: t runs along the wall from 0 to 1, y is in metres."""
        corners = np.empty((2, len(t0), 4))
        corners[0, :, 0] = corners[0, :, 3] = t0
        corners[0, :, 1] = corners[0, :, 2] = t1
        corners[1, :, 0] = corners[1, :, 1] = y0
        corners[1, :, 2] = corners[1, :, 3] = y1
        t, y = corners.reshape(2, -1)
        (x0, x1), (z0, z1) = self.x, self.z
        return self.canvas.view.project(
            x0 + (x1 - x0) * t, y + self.level, z0 + (z1 - z0) * t
        ).reshape(-1, 4, 2)

    def bands(self, *bands: tuple[float, float, float, float, Colour]) -> None:
        """Fill rectangles (t0, t1, y0, y1, colour), one over the other."""
        t0, t1, y0, y1, colours = zip(*bands, strict=True)
        for quad, colour in zip(self.quads(t0, t1, y0, y1), colours, strict=True):
            self.canvas.fill(quad, lit(colour, self.brightness))

    def draw(self, bays: int) -> None:
        """Wall, windows, ground floor, cornice."""
        house = self.house
        wall, trim, eaves = house.wall, house.trim, house.height
        outline = self.quads([0], [1], [-0.25], [eaves])[0]
        if house.pitch and not self.along:  # gable
            ridge = self.quads([0.5], [0.5], [eaves + house.pitch], [eaves])[0, :1]
            outline = np.r_[outline[:3], ridge, outline[3:]]
        self.canvas.fill(outline, lit(wall, self.brightness), Id.BUILDING, self.depth)
        if self.canvas.view.scale(self.depth) * house.floor < 3:
            return
        self._windows(bays)
        bands = [(0, 1, -0.3, 0.6, lit(wall, 0.72))]
        if house.shop:
            self._shop(bays)
        if self.along or not house.pitch:
            bands.append((0, 1, eaves - 0.45, eaves, lit(trim, 0.9)))
            bands.append((0, 1, eaves - 0.6, eaves - 0.45, lit(wall, 0.6)))
        if house.shop or house.floors > 3:
            y = house.ground_floor
            bands.append((0, 1, y - 0.15, y + 0.12, lit(trim, 0.85)))
        self.bands(*bands)

    def _windows(self, bays: int) -> None:
        rng = self.canvas.rng
        house = self.house
        first = 1 if house.shop else 0
        row, column = np.mgrid[first : house.floors + 1, 0.5:bays].reshape(2, -1)
        width, share = house.window
        storey = np.where(row == 0, house.ground_floor, house.floor)
        base = np.where(row == 0, 0.0, house.ground_floor + (row - 1) * house.floor)
        y0 = base + storey * (0.5 - share / 2) + 0.15
        y1 = y0 + storey * share
        t0, t1 = (column - width / 2) / bays, (column + width / 2) / bays
        rim = 0.10 / house.bay
        edge = rim / bays
        canvas = self.canvas
        frame = self.quads(t0 - edge, t1 + edge, y0 - 0.12, y1 + 0.1)
        canvas.fill_quads(frame, lit(house.trim, self.brightness))
        glass = self.quads(t0, t1, y0, y1)
        lamps = canvas.light.lamps
        shade = rng.choice([0.7, 1.0, 1.5], len(glass), p=[0.4, 0.4, 0.2])
        for value in (0.7, 1.0, 1.5):
            colour = lit(house.glass, value * (0.5 + 0.5 * self.brightness))
            if lamps and value == 1.5:
                colour = (120, 210, 255)
            canvas.fill_quads(glass[shade == value], colour)
        if canvas.view.scale(self.depth) > 9:  # mullions
            middle = (t0 + t1) / 2
            bar = self.quads(middle - edge * 0.4, middle + edge * 0.4, y0, y1)
            canvas.fill_quads(bar, lit(house.trim, 0.9 * self.brightness))

    def _shop(self, bays: int) -> None:
        rng = self.canvas.rng
        house = self.house
        top = house.ground_floor
        t = np.arange(bays) / bays
        door = int(rng.integers(bays)) if rng.random() < 0.5 else -1
        self.bands((0, 1, 0, top - 0.3, lit(house.wall, 0.8)))
        pane = self.quads(
            t + 0.06 / bays, t + 0.94 / bays, np.where(np.arange(bays) == door, 0.0, 0.5),
            np.full(bays, top - 0.95),
        )  # fmt: skip
        glow = (110, 170, 210) if self.canvas.light.lamps else lit(house.glass, 1.15)
        self.canvas.fill_quads(pane, lit(glow, 0.5 + 0.5 * self.brightness))
        if house.awning:
            self.bands((0.02, 0.98, top - 1.25, top - 0.55, house.awning))
        else:
            self.bands((0, 1, top - 0.8, top - 0.2, lit(house.trim, 0.7)))

    def roof(self, depth: float) -> None:
        """A tiled slope that leans back from the eaves to a ridge ``depth`` metres behind."""
        view, house = self.canvas.view, self.house
        back = depth if self.right else -depth
        x, z = np.r_[self.x, self.x[::-1] + back], np.r_[self.z, self.z[::-1]]
        y = house.height + self.level + np.array([0, 0, house.pitch, house.pitch])
        shade = 0.7 * self.brightness + 0.3 * self.canvas.light.on((0.0, 1.0, 0.0))
        self.canvas.fill(view.project(x, y, z), lit(house.roof, shade), Id.BUILDING, self.depth)


def draw_skyline(canvas: Canvas) -> None:
    """Close the view with distant houses and trees."""
    rng = canvas.rng
    view = canvas.view
    for z in (240.0, 190.0):
        scale = view.scale(z)
        bottom = view.horizon + (view.camera_height - float(view.elevation(z)) + 3) * scale
        left, end = -0.02 * view.width, 1.02 * view.width
        while left < end:
            wide = rng.uniform(14, 36) * scale
            right = left + wide
            canvas.rng = np.random.default_rng(int(rng.integers(1 << 32)))
            if rng.random() < 0.5:
                top = view.horizon - rng.uniform(7, 22) * scale
                wall = lit(_WALLS[int(rng.integers(len(_WALLS)))], 0.85)
                box = [[left, bottom], [right, bottom], [right, top], [left, top]]
                canvas.fill(box, wall, Id.BUILDING, z)
                _distant_windows(canvas, (left, right), (top, view.horizon), 3.2 * scale, wall)
            else:
                low = view.horizon - rng.uniform(3, 8) * scale
                box = [[left, bottom], [right, bottom], [right, low], [left, low]]
                canvas.fill(box, (50, 92, 74), Id.VEGETATION, z)
                centre = np.array([left + wide / 2, low])
                crown(canvas, centre, (wide * 0.55, wide * 0.3), (55, 104, 82), z)
            left += wide * rng.uniform(0.7, 1.0)


def _distant_windows(
    canvas: Canvas, u: tuple[float, float], v: tuple[float, float], step: float, wall: Colour
) -> None:
    """Rows of dots on a distant house."""
    across, down = np.meshgrid(
        np.arange(u[0] + step * 0.4, u[1] - step * 0.5, step * 0.8),
        np.arange(v[0] + step * 0.5, v[1], step),
    )
    corner = np.array([[0, 0], [0.35, 0], [0.35, 0.45], [0, 0.45]]) * step
    quads = np.stack([across.ravel(), down.ravel()], 1)[:, None] + corner
    canvas.fill_quads(quads, lit(wall, 0.72))
