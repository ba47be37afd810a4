"""People."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas, lit
from .labels import Id
from .light import Colour
from .view import FloatArray

CLOTHES: tuple[Colour, ...] = (
    (50, 48, 46), (120, 70, 40), (44, 40, 165), (70, 110, 60), (205, 208, 210), (150, 150, 152),
    (60, 150, 215), (110, 60, 110), (60, 80, 105), (180, 140, 70),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = ((96, 66, 44), (46, 44, 44), (70, 76, 84), (110, 130, 145))
_SKIN: tuple[Colour, ...] = ((140, 170, 222), (100, 135, 190), (60, 85, 130))
_HAIR: tuple[Colour, ...] = ((30, 32, 38), (40, 62, 92), (90, 150, 190), (150, 150, 152))


class Figure:
    """Draws limbs given in metres (right, up) from a pixel on the ground."""

    def __init__(self, canvas: Canvas, foot: FloatArray, z: float, size: float, label: int) -> None:
        self.canvas, self.foot, self.z, self.label = canvas, foot, z, label
        self.scale = canvas.view.scale(z) * size
        self.shade = canvas.light.on((0.0, 0.0, -1.0)) * 0.5 + 0.5 * canvas.light.ambient

    def at(self, points: FloatArray | list) -> FloatArray:
        return self.foot + np.asarray(points, np.float64) * [self.scale, -self.scale]

    def limb(self, points: list, width: float, colour: Colour, shade: float = 1.0) -> None:
        thick = max(width * self.scale, 0.9)
        tone = lit(colour, self.shade * shade)
        self.canvas.stroke(self.at(points), thick, tone, self.label, self.z)

    def body(self, points: list, colour: Colour, shade: float = 1.0) -> None:
        self.canvas.fill(self.at(points), lit(colour, self.shade * shade), self.label, self.z)

    def head(self, x: float, y: float, skin: Colour, hair: Colour, back: bool) -> None:
        radius = max(0.115 * self.scale, 0.7)
        centre = self.at([[x, y]])[0]
        tone = lit(hair if back else skin, self.shade)
        self.canvas.disc(centre, (radius, radius * 1.2), tone, self.label, self.z)
        if radius > 1.5:
            cap = centre - np.array([0.0, radius * 0.45])
            self.canvas.disc(cap, (radius, radius * 0.8), lit(hair, self.shade), self.label, self.z)


def dress(rng: np.random.Generator) -> tuple[Colour, Colour, Colour, Colour]:
    """Draw colours of jacket, trousers, skin and hair."""

    def pick(options: tuple[Colour, ...]) -> Colour:
        return lit(options[int(rng.integers(len(options)))], rng.uniform(0.8, 1.2))

    return pick(CLOTHES), pick(_TROUSERS), pick(_SKIN), pick(_HAIR)


def draw_person(canvas: Canvas, s: float, z: float) -> None:
    """Somebody standing or walking at (s, z)."""
    rng = canvas.rng
    foot = canvas.view.road(s, 0.0, z)[0]
    size = rng.uniform(0.92, 1.08) if rng.random() < 0.88 else rng.uniform(0.65, 0.8)
    f = Figure(canvas, foot, z, size, Id.PERSON)
    jacket, trousers, skin, hair = dress(rng)
    sideways = rng.random() < 0.5
    step = rng.uniform(0.05, 0.3) if sideways else rng.uniform(0.06, 0.12)
    turn = -1.0 if rng.random() < 0.5 else 1.0
    hips = 0.08 if sideways else 0.1
    f.limb([[-hips * 0.6, 0.88], [-step * 0.6, 0.45], [-step, 0.03]], 0.15, trousers, 0.85)
    f.limb([[hips * 0.6, 0.88], [step * 0.7 + 0.03, 0.47], [step, 0.03]], 0.15, trousers)
    for x in (-step, step):
        f.limb(
            [[x - 0.03, 0.03], [x + 0.13 * turn * (1 if sideways else 0.3), 0.03]], 0.08, (36,) * 3
        )
    wide = 0.16 if sideways else 0.22
    long = 0.55 if rng.random() < 0.25 else 0.82  # a coat reaches the knees
    f.body([[-wide, 1.42], [wide, 1.42], [wide * 0.95, long], [-wide * 0.95, long]], jacket)
    f.limb([[-wide * 0.9, 1.38], [-wide - 0.05 - step * 0.3, 0.86]], 0.1, jacket, 0.8)
    f.limb([[wide * 0.9, 1.38], [wide + 0.04 + step * 0.2, 0.86]], 0.1, jacket, 0.9)
    if rng.random() < 0.3:  # bag or rucksack
        x = wide + 0.06
        bag = CLOTHES[int(rng.integers(len(CLOTHES)))]
        f.body([[x - 0.1, 0.9], [x + 0.12, 0.9], [x + 0.12, 0.6], [x - 0.1, 0.6]], bag)
    f.limb([[0, 1.4], [0, 1.52]], 0.1, skin)
    f.head(0.02 * turn, 1.6, skin, hair, bool(rng.random() < 0.5))
