"""Tileable noise, made once per process."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

TILE = 512


@lru_cache(maxsize=4)
def fractal(power: float) -> NDArray[np.float32]:
    """Tileable noise (512, 512) with spectrum 1 / f**power, mean 0, variance 1."""
    white = np.random.default_rng(20210).standard_normal((TILE, TILE))
    fy = np.fft.fftfreq(TILE)[:, None]
    fx = np.fft.rfftfreq(TILE)[None]
    radius = np.hypot(fy, fx)
    radius[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(white) * radius ** (-power), s=(TILE, TILE))
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def sample(
    tile: NDArray[np.float32], x: NDArray[np.floating], y: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Read a tile at pixel coordinates of any size, which may broadcast to (H, W); it repeats."""
    x, y = np.broadcast_arrays(x, y)
    return cv2.remap(
        tile,
        np.mod(x, TILE).astype(np.float32),
        np.mod(y, TILE).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
