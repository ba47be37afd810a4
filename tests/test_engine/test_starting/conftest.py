from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
from folder_layouts import LAYOUTS, NUMBER, SIZE, folders

from road_scenes import render_scene


@pytest.fixture(scope='session')
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [render_scene(seed, SIZE) for seed in range(NUMBER)]


@pytest.fixture(params=LAYOUTS)
def laid_out(
    request: pytest.FixtureRequest, tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> Path:
    for number, (image, ids) in enumerate(scenes):
        LAYOUTS[request.param](tmp_path, number, image, ids)
    return tmp_path


@pytest.fixture
def plain(tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    for number, (image, ids) in enumerate(scenes):
        folders(tmp_path, number, image, ids)
    return tmp_path
