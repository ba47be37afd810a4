"""Boundaries and thin parts of a label map, of all classes at once.

One erosion and one dilation tell whether a window holds one label only: its lowest label is its
highest. What that says about the window's centre is the same as eroding the mask of every class, at
a small part of the cost.
"""

from __future__ import annotations

import cv2
import numpy as np


class LabelMap:
    """A label map whose void pixels make no boundary.

    Args:
        labels: (H, W) uint8 or uint16. Void pixels may hold anything.
        void: (H, W) bool.
    """

    def __init__(self, labels: np.ndarray, void: np.ndarray) -> None:
        mask = void.view(np.uint8) * labels.dtype.type(np.iinfo(labels.dtype).max)
        # Void neither lowers a window's lowest label nor raises its highest.
        self._for_lowest = cv2.bitwise_or(labels, mask)
        self._for_highest = cv2.bitwise_and(labels, cv2.bitwise_not(mask))

    def near_another(self, radius: int) -> np.ndarray:
        """(H, W) bool: whether the square of 2·radius + 1 pixels around a pixel holds two labels.

        What lies outside the image is no label.
        """
        window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        lowest = cv2.erode(self._for_lowest, window)
        highest = cv2.dilate(self._for_highest, window)
        # A window of void alone has no label: its lowest is above its highest.
        return highest > lowest

    def boundary(self, radius: int) -> np.ndarray:
        """(H, W) bool: whether a pixel lies within `radius` of its class mask's inner contour.

        G_d of Cheng et al. (CVPR 2021), with the image's border as part of every contour.
        """
        inside = self.near_another(radius)
        for border in (inside[:radius], inside[-radius:], inside[:, :radius], inside[:, -radius:]):
            border[:] = True
        return inside

    def thin(self, radius: int) -> np.ndarray:
        """(H, W) bool: the pixels that opening their class mask by a square takes away.

        The square has 2·radius + 1 pixels; its centre is inside the image, beyond whose border
        everything counts as of the class: what is cut off by the border is not thin.
        """
        one_label = ~self.near_another(radius)
        window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        return cv2.dilate(one_label.view(np.uint8), window) == 0


def widen(mask: np.ndarray, radius: int) -> np.ndarray:
    """(H, W) bool: what lies within `radius` (of a square) of a mask (H, W) bool."""
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.dilate(mask.view(np.uint8), window).view(bool)
