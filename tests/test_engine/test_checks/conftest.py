from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    """Five images to train, two to validate, 8×10, with labels 0, 1, 2 and 255."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 5), ('val', 2)):
        for kind in ('images', 'labels'):
            (tmp_path / kind / split).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / f'images/{split}/{index}.png'), image)
            label = np.zeros((8, 10), np.uint8)
            label[0], label[1], label[2] = 1, 2, 255
            cv2.imwrite(str(tmp_path / f'labels/{split}/{index}.png'), label)
    return tmp_path
