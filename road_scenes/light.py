"""Sun, sky and air of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]  # BGR, 0 to 255


def as_array(colour: Colour) -> NDArray[np.float32]:
    """A colour to compute with, of shape (3,)."""
    return np.array(colour, np.float32)


@dataclass(frozen=True)
class Light:
    """The illumination of one scene.

    Attributes:
        sun: Unit vector towards the sun in world coordinates (right, up, ahead).
        direct: Strength of the sun; 0 under a closed cover of clouds.
        ambient: Strength of the sky's light.
        gain: Factor of each channel, BGR: colour temperature and exposure.
        zenith: Colour of the sky overhead.
        rim: Colour of the sky at the horizon, and of the haze.
        clouds: Share of the sky that is covered.
        haze: Extinction in 1/m.
        lamps: Whether lamps are on.
    """

    sun: tuple[float, float, float]
    direct: float
    ambient: float
    gain: Colour
    zenith: Colour
    rim: Colour
    clouds: float
    haze: float
    lamps: bool = False

    def on(self, normal: tuple[float, float, float]) -> float:
        """Brightness of a surface with the given unit normal (right, up, ahead)."""
        cosine = sum(a * b for a, b in zip(normal, self.sun, strict=True))
        # A surface that looks up sees more of the sky.
        return self.ambient * (0.86 + 0.14 * normal[1]) + self.direct * max(cosine, 0.0)

    def shadow(self) -> float:
        """Brightness of ground in shadow relative to ground in the sun."""
        return self.ambient / self.on((0.0, 1.0, 0.0))


# name: probability, sun's elevation in degrees, direct, ambient, BGR gain, zenith, rim, clouds
_WEATHER: dict[str, tuple[float, tuple[float, float], float, float, Colour, Colour, Colour, float]]
_WEATHER = {
    'clear': (0.32, (28, 65), 0.58, 0.60, (0.97, 1.0, 1.03), (205, 140, 75), (235, 215, 195), 0.15),
    'cloudy': (0.26, (25, 60), 0.42, 0.70, (1.0, 1.0, 1.0), (200, 150, 100), (232, 222, 212), 0.5),
    'overcast': (
        0.2,
        (30, 60),
        0.0,
        0.98,
        (1.02, 1.0, 0.97),
        (190, 182, 174),
        (222, 218, 214),
        0.9,
    ),
    'golden': (
        0.14,
        (14, 26),
        0.72,
        0.66,
        (0.90, 1.03, 1.13),
        (200, 150, 105),
        (150, 195, 240),
        0.35,
    ),
    'dusk': (0.08, (5, 9), 0.12, 0.66, (0.92, 0.78, 0.74), (140, 90, 60), (150, 140, 190), 0.4),
}


def sample_light(rng: np.random.Generator) -> Light:
    """Draw a time of day and a weather."""
    names = list(_WEATHER)
    name = names[int(rng.choice(len(names), p=[_WEATHER[n][0] for n in names]))]
    _, elevations, direct, ambient, gain, zenith, rim, clouds = _WEATHER[name]
    elevation = np.deg2rad(rng.uniform(*elevations))
    azimuth = rng.uniform(-np.pi, np.pi)
    warmth = rng.normal(0, 0.03)
    exposure = rng.uniform(0.86, 1.12)
    tint = rng.uniform(0.93, 1.07, 3)
    sun = (
        float(np.cos(elevation) * np.sin(azimuth)),
        float(np.sin(elevation)),
        float(np.cos(elevation) * np.cos(azimuth)),
    )
    return Light(
        sun=sun,
        direct=direct,
        ambient=ambient,
        gain=(
            gain[0] * exposure * (1 - warmth),
            gain[1] * exposure,
            gain[2] * exposure * (1 + warmth),
        ),
        zenith=(zenith[0] * tint[0], zenith[1] * tint[1], zenith[2] * tint[2]),
        rim=rim,
        clouds=float(np.clip(clouds + rng.normal(0, 0.1), 0, 1)),
        haze=float(rng.choice([0.0012, 0.003, 0.006, 0.011], p=[0.3, 0.4, 0.2, 0.1])),
        lamps=name == 'dusk',
    )
