"""Bodies of vehicles: side profiles extruded across their width."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .canvas import Canvas, fixed, lit
from .light import Colour
from .view import FloatArray

_TYRE: Colour = (30, 30, 32)
_RIM: Colour = (140, 142, 144)
GLASS: Colour = (74, 66, 58)
TAIL: Colour = (40, 30, 190)
HEAD: Colour = (235, 240, 240)
PLATE: Colour = (215, 222, 225)
GLOWING_TAIL: Colour = (50, 40, 255)
GLOWING_HEAD: Colour = (220, 245, 255)
PAINTS: tuple[Colour, ...] = (
    (232, 234, 234), (42, 42, 44), (168, 170, 172), (98, 100, 102), (44, 36, 170),
    (150, 84, 34), (92, 60, 30), (60, 88, 40), (160, 190, 205), (40, 170, 225),
)  # fmt: skip
_ODDS = np.array([5, 5, 5, 4, 2.5, 2.5, 2, 1, 1, 0.7])


def sample_paint(rng: np.random.Generator) -> Colour:
    """Draw a colour of a car."""
    colour = PAINTS[int(rng.choice(len(PAINTS), p=_ODDS / _ODDS.sum()))]
    return lit(colour, rng.uniform(0.9, 1.1))


@dataclass
class Solid:
    """A body extruded across its width.

    Attributes:
        profile: Outline (N, 2) of the side, (ahead, up) in metres, from the foot of the rear end
            over the roof to the foot of the front end.
        half: Half the width.
        colours: Colour of the surface from each point of the profile to the next.
        side: Colour of the sides.
        label: Train id.
        flats: Details on the sides: polygons (N, 2) in the profile's coordinates.
        patches: Details on the surfaces: (edge, a0, a1, b0, b1, colour); a runs from -1 (left) to
            1 (right), b from the edge's first point (0) to its second (1).
        lamps: Edges and places of lamps: (edge, a, b, colour).
        taper: How much narrower the body gets per metre above ``belt``.
        belt: Height in metres.
    """

    profile: list[tuple[float, float]]
    half: float
    colours: list[Colour]
    side: Colour
    label: int
    flats: list[tuple[list[tuple[float, float]], Colour]] = field(default_factory=list)
    patches: list[tuple[int, float, float, float, float, Colour]] = field(default_factory=list)
    lamps: list[tuple[int, float, float, Colour]] = field(default_factory=list)
    taper: float = 0.0
    belt: float = 0.95

    def width_at(self, y: FloatArray) -> FloatArray:
        """Half the width at a height."""
        return self.half * (1 - self.taper * np.maximum(y - self.belt, 0))


def signed_area(points: FloatArray) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(x[-1] * y[0] - x[0] * y[-1] + (x[:-1] * y[1:] - x[1:] * y[:-1]).sum())


def draw_solid(canvas: Canvas, solid: Solid, s: float, z: float, yaw: float) -> None:
    """Draw the visible surfaces of a solid standing at (s, z); yaw 0 shows its rear."""
    view, light = canvas.view, canvas.light
    p = np.array(solid.profile)
    detailed = view.scale(z) > 4 * view.width / 512
    half = solid.width_at(p[:, 1])
    angle = yaw + view.yaw(z)
    sides = [
        view.place(np.stack([sign * half, p[:, 1], p[:, 0]], 1), s, z, yaw) for sign in (-1, 1)
    ]
    ahead = np.cos(angle)
    order = np.argsort([-(ahead * (p[i, 0] + p[(i + 1) % len(p), 0])) for i in range(len(p))])
    for i in order:
        j = (i + 1) % len(p)
        quad = np.stack([sides[0][i], sides[1][i], sides[1][j], sides[0][j]])
        if signed_area(quad) >= 0:
            continue
        dz, dy = p[j] - p[i]
        length = float(np.hypot(dz, dy)) or 1.0
        nz, ny = -dy / length, dz / length
        shade = light.on((nz * np.sin(angle), ny, nz * ahead))
        canvas.fill(quad, lit(solid.colours[i], shade), solid.label, z)
        if detailed:
            patches = [patch for patch in solid.patches if patch[0] == i]
            for corners, patch in zip(_on_quad(quad, patches), patches, strict=True):
                canvas.fill(corners, lit(patch[5], shade))
        for edge, a, b, colour in solid.lamps:
            if edge == i and light.lamps:
                low = quad[0] + (quad[1] - quad[0]) * (a + 1) / 2
                high = quad[3] + (quad[2] - quad[3]) * (a + 1) / 2
                canvas.glow(low + (high - low) * b, 0.09 * view.scale(z), colour, z)
    for sign, face in zip((-1, 1), sides, strict=True):
        if sign * signed_area(face) <= 0:
            continue
        shade = light.on((sign * ahead, 0.0, -sign * np.sin(angle)))
        canvas.fill(face, lit(solid.side, shade), solid.label, z)
        if not detailed or not solid.flats:
            continue
        q = np.concatenate([np.array(flat) for flat, _ in solid.flats])
        at = np.stack([sign * solid.width_at(q[:, 1]), q[:, 1], q[:, 0]], 1)
        pixels = fixed(view.place(at, s, z, yaw))
        first = 0
        for flat, colour in solid.flats:
            last = first + len(flat)
            canvas.fill_all([pixels[first:last]], lit(colour, shade), None, 0.0)
            first = last


def _on_quad(quad: FloatArray, patches: list[tuple]) -> FloatArray:
    """Pixels (N, 4, 2) of patches on the surface with the given corners (4, 2)."""
    a0, a1, b0, b1 = np.array([patch[1:5] for patch in patches]).reshape(-1, 4).T
    a = (np.stack([a0, a1, a1, a0], 1)[..., None] + 1) / 2
    b = np.stack([b0, b0, b1, b1], 1)[..., None]
    low = quad[0] + (quad[1] - quad[0]) * a
    high = quad[3] + (quad[2] - quad[3]) * a
    return low + (high - low) * b


@dataclass(frozen=True)
class Wheels:
    """Two wheels on each axle; lengths in metres.

    Attributes:
        axles: Where they are, ahead of the vehicle's centre.
        radius: Of the tyres.
        half: Half the distance between the wheels' outer faces.
    """

    axles: tuple[float, ...]
    radius: float
    half: float


def draw_underside(
    canvas: Canvas,
    wheels: Wheels,
    label: int,
    place: tuple[float, float, float],
    under: tuple[float, float, float],
) -> None:
    """Treads and the dark underside, to be drawn before the body.

    Args:
        canvas: Drawn on.
        wheels: The vehicle's wheels.
        label: Train id.
        place: (s, z, yaw) of the vehicle.
        under: Rear and front end of the underside, and its height.
    """
    rear, front, top = under
    profile = [(rear, 0.12), (rear, top), (front, top), (front, 0.12)]
    dark = (24, 24, 26)
    belly = Solid(profile, (wheels.half - 0.02) * 0.93, [dark] * 4, dark, label)
    draw_solid(canvas, belly, *place)
    s, z, yaw = place
    ahead = np.cos(yaw + canvas.view.yaw(z))
    for axle in sorted(wheels.axles, key=lambda a: -a * ahead):
        for sign in (-1, 1):
            outer, inner = sign * (wheels.half - 0.02), sign * (wheels.half - 0.26)
            tread = [
                [outer, 0, axle],
                [inner, 0, axle],
                [inner, wheels.radius, axle],
                [outer, wheels.radius, axle],
            ]
            canvas.fill(canvas.view.place(tread, s, z, yaw), _TYRE, label, z)


def draw_wheels(
    canvas: Canvas, wheels: Wheels, label: int, place: tuple[float, float, float]
) -> None:
    """The wheels' faces on the visible side, to be drawn after the body."""
    s, z, yaw = place
    n = 14
    angle = np.arange(n) * 2 * np.pi / n
    # Tyre, rim and hub of each wheel: (axle, part, point, right / up / ahead).
    points = np.empty((len(wheels.axles), 3, n, 3))
    shares = wheels.radius * np.array([1.0, 0.62, 0.2])[:, None]
    points[..., 1] = wheels.radius + shares * np.sin(angle)
    points[..., 2] = np.array(wheels.axles)[:, None, None] + shares * np.cos(angle)
    for sign in (-1, 1):
        points[..., 0] = sign * wheels.half
        faces = canvas.view.place(points, s, z, yaw).reshape(-1, 3, n, 2)
        if signed_area(faces[0, 0]) * sign >= 0:  # seen from inside
            continue
        for tyre, rim, hub in faces:
            canvas.fill(tyre, _TYRE, label, z)
            canvas.fill(rim, _RIM)
            canvas.fill(hub, _TYRE)
