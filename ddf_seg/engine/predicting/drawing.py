"""Draws a prediction over its image: colours, outlines, a legend, some classes, doubt."""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
import torch
from torch import Tensor

# How people without red or green cones see linear RGB (Machado, Oliveira, Fernandes 2009).
_VISIONS = (
    np.eye(3),
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
              [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
              [-0.011820, 0.042940, 0.968881]]),
)  # fmt: skip
# What is lighter or darker is lost on paper, or in the shade.
_LIGHTNESS = (28.0, 88.0)


def entropy_of(logits: Tensor) -> np.ndarray:
    """How unsure a segmentor is: the entropy of its class probabilities, 0 to 1.

    Args:
        logits: (classes, H, W); a single one is that of the foreground.

    Returns:
        (H, W) float32, Shannon's entropy in units of the logarithm of the number of classes.
    """
    logits = logits.float()
    if logits.shape[0] == 1:
        logits = torch.cat([torch.zeros_like(logits), logits])
    share = logits.softmax(0)
    entropy = torch.special.entr(share).sum(0) / math.log(logits.shape[0])
    found: np.ndarray = entropy.clamp(0, 1).cpu().numpy()
    return found


def seen_colours(palette: np.ndarray) -> np.ndarray:
    """Colours (n, 3) uint8 in CIELAB as three kinds of eyes see them, (3, n, 3).

    Normal ones, those without red cones and those without green ones.
    """
    srgb = palette.astype(np.float64) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = []
    for vision in _VISIONS:
        found = np.clip(linear @ vision.T, 0, 1)
        bent = np.where(found <= 0.0031308, 12.92 * found, 1.055 * found ** (1 / 2.4) - 0.055)
        seen.append(cv2.cvtColor(bent[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0])
    return np.stack(seen)


@functools.cache
def _clear_palette(number: int) -> np.ndarray:
    steps = np.linspace(0, 255, 12).round()
    candidates = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3).astype(np.uint8)
    lightness = seen_colours(candidates)[0, :, 0]
    candidates = candidates[(lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1])]
    seen = seen_colours(candidates)
    # Away from black lines and grey streets
    taken = seen_colours(np.array([[0, 0, 0], [128, 128, 128]], np.uint8))
    distance = np.full(len(candidates), np.inf)
    for index in range(2):
        distance = np.minimum(distance, np.linalg.norm(seen - taken[:, index, None], axis=2).min(0))
    chosen = []
    for _ in range(number):
        best = int(distance.argmax())
        chosen.append(candidates[best])
        distance = np.minimum(distance, np.linalg.norm(seen - seen[:, best, None], axis=2).min(0))
    return np.stack(chosen)


def clear_palette(number: int) -> np.ndarray:
    """Colours that differ as much as they can, to colour-blind eyes, too, (number, 3) uint8, RGB.

    Each is the one farthest, in CIELAB as the worst of three kinds of eyes sees it, from those
    before.
    """
    return _clear_palette(number).copy()
