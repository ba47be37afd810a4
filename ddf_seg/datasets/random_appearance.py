"""Random changes of light, weather and camera, so that a network meets more than its few drives."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

# A blur of less changes nothing.
_LEAST_BLUR = 0.3


@TRANSFORMS.register_module()
class RandomAppearance(BaseTransform):
    """Changes an image as another light, weather or camera would; labels stay.

    Each of six changes is made with the same probability, in this order: brightness by a power
    (gamma), gain of each channel (white balance), a shade across the image, haze that thins
    downwards, a Gaussian blur, Gaussian noise. Strengths are drawn evenly,
    up to the limits given.

    Args:
        prob: of each change.
        gamma: the power is exp(u), |u| at most this.
        gain: largest change of a channel, as a part of it.
        shade: largest logarithm of the brightness at one border, −1 times that at the opposite.
        haze: largest part of the image that the haze hides.
        blur: largest deviation of the blur, in pixels.
        noise: largest deviation of the noise, in grey values.

    Raises:
        ValueError: a probability outside 0 to 1, or a negative strength.
    """

    def __init__(
        self,
        prob: float = 0.3,
        gamma: float = 0.6,
        gain: float = 0.2,
        shade: float = 0.5,
        haze: float = 0.5,
        blur: float = 1.5,
        noise: float = 12.0,
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob: expected a value from 0 to 1, got {prob}')
        for name, value in dict(
            gamma=gamma, gain=gain, shade=shade, haze=haze, blur=blur, noise=noise
        ).items():
            if value < 0:
                raise ValueError(f'{name}: expected a value of at least 0, got {value}')
        self.prob = prob
        self.gamma = gamma
        self.gain = gain
        self.shade = shade
        self.haze = haze
        self.blur = blur
        self.noise = noise

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Changes results['img'], (H, W, 3) of 0 to 255, which becomes float32."""
        image = results['img'].astype(np.float32)
        # mmseg seeds numpy's global generator, in each worker, and its own transforms use it.
        random = np.random
        light, balance, shaded, hazy, blurred, noisy = random.random(6) < self.prob
        if light:
            power = np.exp(random.uniform(-self.gamma, self.gamma))
            image = 255 * (image.clip(0, 255) / 255) ** np.float32(power)
        if balance:
            image = image * random.uniform(1 - self.gain, 1 + self.gain, 3).astype(np.float32)
        if shaded:
            image = image * np.exp(random.uniform(0, self.shade) * _ramp(image, random))
        if hazy:
            hidden = random.uniform(0, self.haze) * _downwards(image, random.uniform(0, 1))
            image = image * (1 - hidden) + hidden * np.float32(random.uniform(130, 240))
        if blurred:
            deviation = random.uniform(min(_LEAST_BLUR, self.blur), self.blur)
            image = cv2.GaussianBlur(image, (0, 0), deviation) if deviation else image
        if noisy:
            image = image + random.normal(0, random.uniform(0, self.noise), image.shape)
        results['img'] = image.clip(0, 255).astype(np.float32)
        return results


def _ramp(image: np.ndarray, random: Any) -> np.ndarray:
    """−1 to 1 across the image, in a random direction, (H, W, 1)."""
    angle = random.uniform(0, 2 * np.pi)
    height, width = image.shape[:2]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    ramp = np.cos(angle) * columns + np.sin(angle) * rows
    return ramp.astype(np.float32)[..., None]


def _downwards(image: np.ndarray, last: float) -> np.ndarray:
    """1 at the first row to `last` at the last, (H, 1, 1)."""
    return np.linspace(1, last, image.shape[0], dtype=np.float32)[:, None, None]
