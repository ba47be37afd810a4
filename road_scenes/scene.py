"""Renders one scene from a seed."""

from __future__ import annotations

import cv2
import numpy as np

from .buildings import draw_skyline
from .canvas import Canvas
from .frontage import Frontage
from .ground import draw_ground
from .light import sample_light
from .plan import sample_plan, sample_view
from .sidewalk import Sidewalk
from .sky import draw_bonnet, draw_sky, finish
from .street import Street
from .traffic import Traffic


def render_scene(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Render a road scene with its label map.

    Args:
        seed: A non-negative integer; the same seed gives the same bits, and the same scene at any
            resolution.
        size: Height and width in pixels, at least 32 each.

    Returns:
        Image of shape (H, W, 3), BGR uint8, and Cityscapes train ids of shape (H, W), uint8, with
        255 for what is not evaluated.

    Raises:
        ValueError: If the size is too small.
    """
    return render_with_depth(seed, size)[:2]


def render_with_depth(
    seed: int, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `render_scene`, and the depth.

    Returns:
        Image, labels, and metres along the optical axis of shape (H, W), float32, infinite in the
        sky. A thing has one depth, that of its middle; the ground has its own in each row.

    Raises:
        ValueError: If the size is too small.
    """
    if min(size) < 32:
        raise ValueError(f'size: expected at least 32 pixels each way, got {tuple(size)}')
    layout, *stages = np.random.default_rng(seed).spawn(6)
    plan = sample_plan(layout)
    canvas = Canvas(sample_view(layout, plan, size), sample_light(layout))
    street = Street(canvas, layout, plan)
    Traffic(street).fill()
    Sidewalk(street).fill()
    for side in plan.sides:
        Frontage(street).line(side)

    # The sun is no point: shadows have soft edges.
    shadow = cv2.GaussianBlur(street.shadow, (0, 0), 0.8)
    draw_sky(canvas, stages[0])
    draw_ground(canvas, stages[1], plan, shadow)
    canvas.rng = stages[2]
    draw_skyline(canvas)
    street.draw()
    draw_bonnet(canvas, stages[3])
    image = finish(canvas, stages[4])
    depth = np.where(canvas.depth > 0, canvas.depth, np.float32(np.inf))
    return image, canvas.label.astype(np.uint8), depth
