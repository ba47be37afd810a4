"""Crops and changes of images that have one class each, in mmcv's form."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

# mmengine seeds numpy's global generator in each worker.
_random: Any = np.random


class _ImageTransform(BaseTransform):
    """Changes results['img'], (H, W, 3), and its size."""

    def change(self, image: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        results['img'] = self.change(results['img'])
        results['img_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class RandomAreaCrop(_ImageTransform):
    """A random part of the image, scaled to a square (Szegedy et al., CVPR 2015).

    Args:
        size: side of the square, in pixels.
        area: least and largest part of the image's area.
        ratio: least and largest width by height; drawn evenly by its logarithm.
    """

    def __init__(
        self,
        size: int,
        area: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
    ) -> None:
        self.size = size
        self.area = area
        self.ratio = ratio

    def change(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        for _ in range(10):
            area = _random.uniform(*self.area) * height * width
            ratio = np.exp(_random.uniform(*np.log(self.ratio)))
            w, h = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
            if 0 < w <= width and 0 < h <= height:
                top, left = _random.randint(height - h + 1), _random.randint(width - w + 1)
                break
        else:
            # A long image: of its middle as much as the ratios allow
            w = min(width, max(1, int(height * self.ratio[1])))
            h = min(height, max(1, int(width / self.ratio[0])))
            top, left = (height - h) // 2, (width - w) // 2
        part = image[top : top + h, left : left + w]
        shrinks = h > self.size and w > self.size
        how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        return cv2.resize(part, (self.size, self.size), interpolation=how)


@TRANSFORMS.register_module()
class ShiftCrop(_ImageTransform):
    """As large as it was, shifted by up to some pixels, black where it moved away.

    Args:
        most: pixels, in each direction.
    """

    def __init__(self, most: int = 4) -> None:
        self.most = most

    def change(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        top, left = _random.randint(0, 2 * self.most + 1, 2)
        padded = np.pad(image, ((self.most,) * 2, (self.most,) * 2, (0, 0)))
        return padded[top : top + height, left : left + width]


@TRANSFORMS.register_module()
class ColourJitter(_ImageTransform):
    """Brightness, contrast and saturation, in a random order, each by a factor of 1 ± strength.

    Args:
        strength: largest change.
    """

    def __init__(self, strength: float = 0.4) -> None:
        self.strength = strength

    def change(self, image: np.ndarray) -> np.ndarray:
        out = image.astype(np.float32)
        for kind in _random.permutation(3):
            factor = np.float32(_random.uniform(1 - self.strength, 1 + self.strength))
            grey = cv2.cvtColor(out, cv2.COLOR_BGR2GRAY)
            towards = (np.float32(0), grey.mean(), grey[..., None])[kind]
            out = (towards + factor * (out - towards)).clip(0, 255)
        return out


@TRANSFORMS.register_module()
class PackClass(BaseTransform):
    """The image as a tensor (3, H, W) under 'inputs', and its class under 'data_samples'."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(image), data_samples=torch.tensor(results['gt_label']))
