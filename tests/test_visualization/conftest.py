from __future__ import annotations

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from networks import HEAD, build_segmentor, make_inspection
from pages import open_browser

from ddf_seg.visualization import Inspection


@pytest.fixture(scope='session')
def segmentor():
    """A segmentor with DDF in backbone and head."""
    torch.manual_seed(0)
    return build_segmentor(HEAD)


@pytest.fixture(scope='session')
def image() -> np.ndarray:
    """45×61 pixels with areas, a thin upright bar, and noise; BGR."""
    rng = np.random.default_rng(0)
    image = np.full((45, 61, 3), 60, np.uint8)
    image[25:] = (40, 120, 200)
    image[:, 40:43] = 230
    return np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def inspection(segmentor, image) -> Inspection:
    return make_inspection(segmentor, image)


@pytest.fixture(scope='session')
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp('profile')) as driver:
        yield driver
