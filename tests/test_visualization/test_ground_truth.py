"""Label files that are given mean what those of the config's dataset do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from ddf_seg.visualization.visualizing import Labels

VALUES = np.array([[0, 1, 2, 13, 150, 255]], np.uint8)


@pytest.mark.parametrize(
    ('dataset', 'expected'),
    [
        (dict(type='CityscapesDataset'), VALUES[0].tolist()),
        # Its 0 is no class, and its classes count from 1.
        (dict(type='ADE20KDataset'), [255, 0, 1, 12, 149, 255]),
        (
            dict(type='CityscapesDataset', metainfo=dict(classes=('car', 'road'))),
            [1, 255, 255, 0, 150, 255],
        ),
        (None, VALUES[0].tolist()),
    ],
    ids=['as they are', 'from 1', 'some classes', 'no dataset'],
)
def test_the_datasets_rules_are_kept(
    tmp_path: Path, dataset: dict[str, Any] | None, expected: list[int]
) -> None:
    image, label = tmp_path / 'street.png', tmp_path / 'label.png'
    assert cv2.imwrite(str(label), VALUES.repeat(2, axis=0))
    cfg = Config()
    if dataset is not None:
        # Not on this machine
        cfg.test_dataloader = dict(dataset=dict(data_root=str(tmp_path / 'none'), **dataset))
    with DefaultScope.overwrite_default_scope('mmseg'):
        truth = Labels(cfg, [image], [label])(image)
    assert truth is not None
    assert truth[0].tolist() == expected
