"""Trees, bushes and hedges."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, lit
from .labels import Id
from .light import Colour
from .view import FloatArray

_LEAVES: tuple[Colour, ...] = (
    (48, 104, 72),
    (42, 92, 58),
    (58, 120, 96),
    (62, 128, 84),
    (44, 84, 66),
    (50, 118, 128),
    (48, 100, 150),  # autumn
)


def sample_leaves(rng: np.random.Generator) -> Colour:
    """Draw a colour of leaves; autumn is rare."""
    p = np.array([4, 4, 4, 3, 3, 1, 0.6])
    colour = _LEAVES[int(rng.choice(len(_LEAVES), p=p / p.sum()))]
    return lit(colour, rng.uniform(0.85, 1.15))


def crown(
    canvas: Canvas,
    centre: FloatArray,
    radius: tuple[float, float],
    colour: Colour,
    depth: float,
) -> None:
    """Fill an ellipse (pixels) with clumps of leaves, lit from the sun's side."""
    rng = canvas.rng
    rx, ry = radius
    u, v = float(centre[0]), float(centre[1])
    if u + rx < 0 or u - rx > canvas.view.width or v + ry < 0 or v - ry > canvas.view.height:
        return
    sun, direct, ambient = canvas.light.sun, canvas.light.direct, canvas.light.ambient
    small = min(rx, ry)

    def scatter(n: int, reach: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Places in the ellipse, their height in it from -1 to 1, and how they face the sun."""
        angle = rng.uniform(0, 2 * np.pi, n)
        far = np.sqrt(rng.uniform(0, 1, n)) * reach
        right, up = np.cos(angle) * far, np.sin(angle) * far
        return u + right * rx, v - up * ry, up, right * sun[0] + up * sun[1]

    canvas.disc((u, v), (rx * 0.72, ry * 0.72), lit(colour, 0.62 * ambient), Id.VEGETATION, depth)
    n = int(np.clip(rx * 1.1, 4, 30))
    x, y, up, facing = scatter(n, 0.78)
    size = rng.uniform(0.24, 0.42, n) * small
    tone = np.maximum(ambient * (0.80 + 0.22 * up) + direct * 0.55 * facing, 0.35)
    order = np.argsort(tone)
    tone *= rng.uniform(0.9, 1.1, n)
    for i in order.tolist():
        canvas.disc((x[i], y[i]), float(size[i]), lit(colour, tone[i]), Id.VEGETATION, depth)
    # Single tufts, as far as a pixel resolves them.
    n = int(np.clip(rx * ry * 0.09, 0, 130))
    x, y, up, facing = scatter(n, 0.9)
    size = rng.uniform(0.02, 0.075, n) * small + 0.6
    tone = ambient * rng.uniform(0.6, 1.15, n) + direct * (0.25 + 0.5 * facing)
    tone = np.maximum(tone, 0.4)
    inside = ((x - u) / rx) ** 2 + ((y - v) / ry) ** 2 < 0.36  # labelled already
    for i in range(n):
        label = None if inside[i] else Id.VEGETATION
        canvas.disc((x[i], y[i]), float(size[i]), lit(colour, tone[i]), label, depth)


def draw_tree(
    canvas: Canvas,
    s: float,
    z: float,
    height: float,
    colour: Colour,
) -> None:
    """A tree that stands at (s, z): broad, or slim like a poplar."""
    rng = canvas.rng
    view = canvas.view
    scale = view.scale(z)
    foot = view.road(s, 0.0, z)[0]
    slim = rng.random() < 0.2
    wide = height * (rng.uniform(0.14, 0.2) if slim else rng.uniform(0.26, 0.36))
    tall = height * (0.42 if slim else rng.uniform(0.28, 0.34))
    lean = rng.normal(0, 0.02) * height
    top = foot + np.array([lean, -(height - tall * 1.6)]) * scale
    trunk = max(0.022 * height + 0.08, 0.12)
    bark = lit((62, 74, 88), rng.uniform(0.75, 1.15) * canvas.light.on((0.0, 0.0, -1.0)))
    thick = trunk * scale
    canvas.stroke([foot, top], [thick * 1.25, thick * 0.7], bark, Id.VEGETATION, z)
    centre = foot + np.array([lean, -(height - tall)]) * scale
    for side in (-1, 1) if thick > 1.5 else ():
        twig = centre + np.array([side * wide * 0.5, tall * 0.2]) * scale
        canvas.stroke([(foot + top * 3) / 4, twig], thick * 0.4, bark, Id.VEGETATION, z)
    crown(canvas, centre, (wide * scale, tall * scale), colour, z)


def draw_bush(canvas: Canvas, s: float, z: float, radius: float, colour: Colour) -> None:
    """A round bush at (s, z)."""
    scale = canvas.view.scale(z)
    centre = canvas.view.road(s, radius * 0.6, z)[0]
    crown(canvas, centre, (radius * scale, radius * 0.8 * scale), colour, z)


def draw_hedge(
    canvas: Canvas,
    s: float,
    z0: float,
    z1: float,
    height: float,
    colour: Colour,
) -> None:
    """A clipped hedge along the street."""
    rng = canvas.rng
    view = canvas.view
    z = np.array([z0, z1, z1, z0])
    depth = (z0 + z1) / 2
    side = canvas.light.on((-1.0 if s > 0 else 1.0, 0.0, 0.0))
    face = view.road(s, np.array([0, 0, height, height]), z)
    canvas.fill(face, lit(colour, 0.8 * side), Id.VEGETATION, depth)
    back = s + (1.0 if s > 0 else -1.0)
    roof = view.road(np.array([s, s, back, back]), height, z)
    canvas.fill(roof, lit(colour, canvas.light.on((0.0, 1.0, 0.0))), Id.VEGETATION, depth)
    scale = view.scale(depth)
    for _ in range(int(np.clip(scale * (z1 - z0) * 0.25, 3, 40))):
        point = view.road(s, rng.uniform(0.05, 1.03) * height, rng.uniform(z0, z1))[0]
        tone = side * rng.uniform(0.6, 1.2)
        canvas.disc(
            point, rng.uniform(0.05, 0.16) * scale + 0.5, lit(colour, tone), Id.VEGETATION, depth
        )
