"""Cityscapes' 19 train ids and their palette."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

IGNORE = 255


class Id(IntEnum):
    """Train ids in Cityscapes' order."""

    ROAD = 0
    SIDEWALK = 1
    BUILDING = 2
    WALL = 3
    FENCE = 4
    POLE = 5
    TRAFFIC_LIGHT = 6
    TRAFFIC_SIGN = 7
    VEGETATION = 8
    TERRAIN = 9
    SKY = 10
    PERSON = 11
    RIDER = 12
    CAR = 13
    TRUCK = 14
    BUS = 15
    TRAIN = 16
    MOTORCYCLE = 17
    BICYCLE = 18


CLASSES = tuple(member.name.lower().replace('_', ' ') for member in Id)

# RGB, as in cityscapesScripts.
PALETTE = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)


def colourise(label: np.ndarray) -> np.ndarray:
    """Paint a label map in Cityscapes' colours.

    Args:
        label: Train ids of shape (H, W), uint8; 255 becomes black.

    Returns:
        BGR image of shape (H, W, 3), uint8.
    """
    lut = np.zeros((256, 3), np.uint8)
    lut[: len(PALETTE)] = np.array(PALETTE, np.uint8)[:, ::-1]
    return lut[label]
