"""Street furniture: lamps, signs, traffic lights, bollards, wires, walls and fences."""

from __future__ import annotations

import cv2
import numpy as np

from .canvas import Canvas, fixed, lit
from .labels import IGNORE, Id
from .light import Colour
from .view import FloatArray

_STEEL: tuple[Colour, ...] = ((96, 98, 98), (128, 130, 130), (70, 80, 66), (60, 62, 64))
_RED: Colour = (48, 40, 205)
_BLUE: Colour = (180, 92, 24)
_YELLOW: Colour = (40, 200, 245)
_WHITE: Colour = (238, 240, 240)
_BLACK: Colour = (30, 30, 30)


def sample_steel(rng: np.random.Generator) -> Colour:
    """Draw a colour of poles."""
    return lit(_STEEL[int(rng.integers(len(_STEEL)))], rng.uniform(0.85, 1.15))


def _post(
    canvas: Canvas, s: float, z: float, height: float, diameter: float, colour: Colour
) -> FloatArray:
    """A vertical pole; returns the pixel of its top."""
    view = canvas.view
    ends = view.road(s, np.array([0.0, height]), z)
    width = max(diameter * view.scale(z), 0.9)
    shade = canvas.light.on((0.0, 0.0, -1.0))
    canvas.stroke(ends, width, lit(colour, shade), Id.POLE, z)
    if width > 3:
        bright = ends + np.array([width * 0.2, 0])
        canvas.stroke(bright, width * 0.25, lit(colour, shade * 1.25))
    return ends[1]


def draw_lamp(
    canvas: Canvas, s: float, z: float, height: float, colour: Colour, classic: bool
) -> None:
    """A street lamp whose arm reaches over the road, or a post with a lantern."""
    scale = canvas.view.scale(z)
    top = _post(canvas, s, z, height, 0.13, colour)
    shade = canvas.light.on((0.0, 0.0, -1.0))
    if classic:
        head = top + np.array([0, -0.25]) * scale
        canvas.disc(head, (0.24 * scale, 0.34 * scale), lit((190, 205, 210), shade), Id.POLE, z)
        canvas.stroke([head, top], 0.3 * scale, lit(colour, shade), Id.POLE, z)
    else:
        reach = -np.sign(s) * 1.7
        bow = top + np.array([[0, 0], [reach * 0.35, -0.35], [reach, -0.5]]) * scale
        canvas.stroke(bow, max(0.11 * scale, 0.9), lit(colour, shade), Id.POLE, z)
        head = bow[2]
        blade = np.array([head, head + np.array([np.sign(reach) * 0.8, 0.03]) * scale])
        canvas.stroke(blade, max(0.17 * scale, 1.0), lit((110, 112, 112), shade), Id.POLE, z)
        head = blade[1]
    if canvas.light.lamps:
        canvas.glow(head, max(0.16 * scale, 0.8), (150, 220, 255), z)


def _plate(kind: str, size: float) -> list[tuple[np.ndarray, Colour]]:
    """Polygons (N, 2) in metres around the centre, v down, of a sign; the first is its outline."""

    def ring(n: int, radius: float, turn: float = 0.0) -> np.ndarray:
        angle = turn + np.arange(n) * 2 * np.pi / n
        return np.stack([np.sin(angle), -np.cos(angle)], 1) * radius

    def box(width: float, height: float, v: float = 0.0, u: float = 0.0) -> np.ndarray:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width, height]
        return corners * 0.5 + [u, v]

    r = size / 2
    if kind == 'limit':
        digits = [(box(r * 0.35, r * 0.75, u=r * d), _BLACK) for d in (-0.27, 0.27)]
        return [(ring(18, r), _RED), (ring(18, r * 0.74), _WHITE), *digits]
    if kind == 'entry':
        return [(ring(18, r), _RED), (box(r * 1.4, r * 0.36), _WHITE)]
    if kind == 'stop':
        return [(ring(8, r * 1.05, np.pi / 8), _RED), (box(r * 1.3, r * 0.4), _WHITE)]
    if kind == 'yield':
        return [(ring(3, r * 1.25, np.pi), _RED), (ring(3, r * 0.72, np.pi), _WHITE)]
    if kind == 'warning':
        return [
            (ring(3, r * 1.25), _RED),
            (ring(3, r * 0.75), _WHITE),
            (box(r * 0.18, r * 0.5, r * 0.05), _BLACK),
        ]
    if kind == 'priority':
        return [(ring(4, r * 1.15), _WHITE), (ring(4, r * 0.85), _YELLOW)]
    if kind == 'arrow':
        head = np.array([[0, -0.7], [0.5, -0.1], [-0.5, -0.1]]) * r
        return [(ring(18, r), _BLUE), (head, _WHITE), (box(r * 0.28, r * 0.8, r * 0.25), _WHITE)]
    if kind == 'crossing':
        mark = np.array([[0, -0.62], [0.6, 0.5], [-0.6, 0.5]]) * r
        return [(box(size, size), _BLUE), (mark, _WHITE), (box(r * 0.2, r * 0.6, r * 0.1), _BLACK)]
    if kind == 'direction':
        lines = [(box(size * 1.3, size * 0.1, size * v), _WHITE) for v in (-0.25, 0.02, 0.28)]
        return [
            (box(size * 1.9, size * 1.0), _WHITE),
            (box(size * 1.8, size * 0.92), _BLUE),
            *lines,
        ]
    raise ValueError(f'kind: expected one of {SIGNS}, got {kind!r}')


SIGNS = (
    'limit', 'entry', 'stop', 'yield', 'warning', 'priority', 'arrow', 'crossing', 'direction',
)  # fmt: skip


def draw_sign(
    canvas: Canvas, s: float, z: float, kinds: tuple[str, ...], size: float, colour: Colour
) -> None:
    """One or two traffic signs on a pole."""
    scale = canvas.view.scale(z)
    height = 2.3 + size * len(kinds)
    top = _post(canvas, s, z, height, 0.07, colour)
    shade = 0.35 + 0.75 * canvas.light.on((0.0, 0.0, -1.0))  # signs reflect
    for i, kind in enumerate(kinds):
        centre = top + np.array([0, (0.45 + 1.05 * i) * size * scale])
        for j, (shape, paint) in enumerate(_plate(kind, size)):
            label = Id.TRAFFIC_SIGN if j == 0 else None
            canvas.fill(centre + shape * scale, lit(paint, shade), label, z)


def _signal(canvas: Canvas, top: FloatArray, z: float, lit_lamp: int) -> None:
    """A box with three lamps hanging from a pixel."""
    scale = canvas.view.scale(z)
    half, height = 0.23 * scale, 1.15 * scale
    shade = canvas.light.on((0.0, 0.0, -1.0))
    box = top + np.array([[-half, 0], [half, 0], [half, height], [-half, height]])
    canvas.fill(box, lit((40, 44, 42), shade), Id.TRAFFIC_LIGHT, z)
    on: tuple[Colour, ...] = ((60, 50, 255), (40, 190, 255), (150, 240, 80))
    for i in range(3):
        centre = top + np.array([0, (0.22 + 0.355 * i) * scale])
        radius = 0.16 * scale
        dark = (30, 26, 60) if i == 0 else (26, 52, 60) if i == 1 else (40, 56, 28)
        canvas.disc(centre, radius, on[i] if i == lit_lamp else dark)
        if i == lit_lamp:
            canvas.glow(centre, max(radius, 0.7), on[i], z)


def draw_traffic_light(
    canvas: Canvas, s: float, z: float, lamp: int, colour: Colour, reach: float
) -> None:
    """A traffic light on a pole; with ``reach`` > 0 a second one hangs over the road."""
    scale = canvas.view.scale(z)
    if reach > 0:
        top = _post(canvas, s, z, 5.6, 0.16, colour)
        end = top + np.array([-np.sign(s) * reach, 0]) * scale
        shade = canvas.light.on((0.0, 0.0, -1.0))
        canvas.stroke([top, end], max(0.13 * scale, 0.9), lit(colour, shade), Id.POLE, z)
        _signal(canvas, end + np.array([0, 0.05 * scale]), z, lamp)
        _signal(canvas, top + np.array([0, 2.3 * scale]), z, lamp)
    else:
        top = _post(canvas, s, z, 3.4, 0.11, colour)
        _signal(canvas, top, z, lamp)


def draw_bollard(canvas: Canvas, s: float, z: float, colour: Colour) -> None:
    """A knee-high post with a bright ring."""
    _post(canvas, s, z, 0.95, 0.11, colour)
    ring = canvas.view.road(s, np.array([0.7, 0.82]), z)
    canvas.stroke(ring, max(0.12 * canvas.view.scale(z), 0.9), (210, 212, 214))


def draw_bin(canvas: Canvas, s: float, z: float) -> None:
    """A bin or cabinet: one of the things that Cityscapes does not evaluate."""
    rng = canvas.rng
    wide, tall = rng.uniform(0.5, 0.9), rng.uniform(0.9, 1.4)
    shade = canvas.light.on((0.0, 0.0, -1.0))
    tones: tuple[Colour, ...] = ((60, 90, 60), (120, 122, 120), (50, 52, 56), (40, 150, 200))
    tone = lit(tones[int(rng.integers(4))], shade)
    box = canvas.view.road(s + wide * np.array([-0.5, 0.5, 0.5, -0.5]), [0, 0, tall, tall], z)
    canvas.fill(box, tone, IGNORE, z)
    lid = canvas.view.road(
        s + wide * np.array([-0.53, 0.53, 0.53, -0.53]), [tall - 0.12, tall - 0.12, tall, tall], z
    )
    canvas.fill(lid, lit(tone, 0.7), IGNORE, z)


def draw_wire(canvas: Canvas, a: tuple[float, float, float], b: tuple[float, float, float]) -> None:
    """A sagging wire between two points in road coordinates; too thin to be labelled."""
    t = np.linspace(0, 1, 9)
    p = np.array(a) + (np.array(b) - np.array(a)) * t[:, None]
    p[:, 1] -= 0.25 * 4 * t * (1 - t)
    line = fixed(canvas.view.road(p[:, 0], p[:, 1], p[:, 2]))
    # Thinner than a pixel, so it only darkens what is behind it.
    u, v = line.min(0) >> 4, (line.max(0) >> 4) + 1
    view = canvas.view
    u, v = (
        np.clip(u - 1, 0, [view.width, view.height]),
        np.clip(v + 1, 0, [view.width, view.height]),
    )
    patch = canvas.image[u[1] : v[1], u[0] : v[0]]
    if patch.size:
        behind = patch.copy()
        cv2.polylines(canvas.image, [line], False, (70, 70, 74), 1, cv2.LINE_AA, 4)
        cv2.addWeighted(patch, 0.55, behind, 0.45, 0, patch)


def draw_wall(
    canvas: Canvas, s: float, z0: float, z1: float, height: float, colour: Colour, brick: bool
) -> None:
    """A free-standing wall along the street with a coping."""
    view = canvas.view
    z = np.array([z0, z1, z1, z0])
    depth = (z0 + z1) / 2
    shade = canvas.light.on((-1.0 if s > 0 else 1.0, 0.0, 0.0))
    end = s + (0.3 if s > 0 else -0.3)
    front = view.road(np.array([s, end, end, s]), [0, 0, height, height], z0)
    canvas.fill(front, lit(colour, canvas.light.on((0.0, 0.0, -1.0))), Id.WALL, depth)
    face = view.road(s, np.array([0, 0, height, height]), z)
    canvas.fill(face, lit(colour, shade), Id.WALL, depth)
    if brick and view.scale(depth) > 7:
        for y in np.arange(0.25, height, 0.25):
            course = view.road(s, y, np.array([z0, z1]))
            canvas.stroke(course, 0.8, lit(colour, 0.8 * shade))
    joint = view.road(s, np.array([0, height]), z1)
    canvas.stroke(joint, 0.8, lit(colour, 0.7 * shade))
    out = s - (0.06 if s > 0 else -0.06)
    coping = view.road(out, height + np.array([-0.08, -0.08, 0.12, 0.12]), z)
    canvas.fill(coping, lit((168, 174, 178), shade), Id.WALL, depth)


def draw_fence(
    canvas: Canvas, s: float, z0: float, z1: float, height: float, colour: Colour, kind: str
) -> None:
    """A fence along the street: 'bars', 'planks' or 'rail'.

    As in Cityscapes, what is seen through the fence counts as fence.
    """
    view = canvas.view
    z = np.array([z0, z1, z1, z0])
    depth = (z0 + z1) / 2
    scale = view.scale(depth)
    shade = canvas.light.on((-1.0 if s > 0 else 1.0, 0.0, 0.0))
    tone = lit(colour, shade)
    panel = view.road(s, np.array([0.05, 0.05, height, height]), z)
    u0, v0 = np.clip(np.floor(panel.min(0)) - 2, 0, None).astype(int)
    u1, v1 = np.clip(np.ceil(panel.max(0)) + 3, 0, None).astype(int)
    patch = canvas.image[v0:v1, u0:u1]
    behind = patch.copy()
    canvas.fill(panel, tone, Id.FENCE, depth)
    if kind != 'planks' and patch.size:  # bars too fine to be resolved veil what is behind
        cv2.addWeighted(patch, 0.22, behind, 0.78, 0, patch)
    step = {'bars': 0.22, 'planks': 0.3, 'rail': 1.3}[kind]
    width = {'bars': 0.03, 'planks': 0.03, 'rail': 0.07}[kind]
    bar = lit(tone, 0.72) if kind == 'planks' else tone
    if step * scale > 1.2 * np.clip(scale / 6, 0.5, 1):
        at = np.arange(z0, z1, step)
        foot, top = view.road(s, 0.0, at), view.road(s, height, at)
        half = np.maximum(width * view.focal / at - 1, 0)[:, None] / 2 * [1.0, 0.0]
        canvas.fill_quads(np.stack([foot - half, foot + half, top + half, top - half], 1), bar)
    rails = {'bars': (0.15, 0.96), 'planks': (0.25, 0.8), 'rail': (0.45, 0.97)}[kind]
    for y in rails:
        rail = view.road(s, y * height, np.array([z0, z1]))
        canvas.stroke(rail, max(0.06 * scale, 0.8), bar)
    post = view.road(s, np.array([0.0, height + 0.1]), z0)
    canvas.stroke(post, max(0.09 * scale, 0.9), lit(tone, 0.85), Id.FENCE, depth)
