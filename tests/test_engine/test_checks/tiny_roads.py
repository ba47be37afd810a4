"""A tiny dataset, a config for it, and what a check finds."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
from mmengine.config import Config

from ddf_seg.engine.checks.dataset import (
    Finding,
    check_all,
)

NUM_CLASSES = 3
LOAD = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]


def make_config(root: Path, **changes: Any) -> Config:
    def loader(split: str) -> dict[str, Any]:
        dataset = {
            'type': 'BaseSegDataset',
            'img_suffix': '.png',
            'data_root': str(root),
            'data_prefix': {'img_path': f'images/{split}', 'seg_map_path': f'labels/{split}'},
            'metainfo': {'classes': ('road', 'pole', 'car')},
            'pipeline': LOAD,
            # Otherwise every dataset collects the garbage of the whole process: 0.1 s.
            'serialize_data': False,
            **changes,
        }
        return {'dataset': dataset}

    return Config(
        {
            'model': {'decode_head': {'num_classes': NUM_CLASSES}},
            'train_dataloader': loader('train'),
            'val_dataloader': loader('val'),
            'test_dataloader': loader('val'),
        }
    )


def find(cfg: Config, *splits: str) -> dict[str, Finding]:
    """What is found, by its kind; in some splits or in all."""
    findings = check_all(cfg, 1).findings
    if splits:
        findings = [finding for finding in findings if finding.split in splits]
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: finding for finding in findings}


def write_label(file: Path, label: np.ndarray) -> None:
    assert cv2.imwrite(str(file), label)


def make_more(roads: Path, count: int) -> None:
    """Copies of image 0, up to the number."""
    for index in range(5, count):
        for kind in ('images', 'labels'):
            shutil.copy(roads / kind / 'train/0.png', roads / kind / f'train/{index:03d}.png')
