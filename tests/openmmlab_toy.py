"""A road scene dataset of a few tiny images and a model of mmseg to match, for the tests."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine import Config
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

from ddf_seg._compat import mmcv_ops
from zoo_check.models import shallow_resnets

MMCV_HAS_OPS = find_spec('mmcv._ext') is not None and not isinstance(
    sys.modules.get('mmcv._ext'), mmcv_ops._MissingOps
)
_CONFIG = """
_base_ = 'mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
"""


def forget_visualizers() -> None:
    """Let the next runner build its own visualizer.

    mmengine keeps those of earlier runs by name, in the class and in its base, and its hooks draw
    with whichever name came last.
    """
    SegLocalVisualizer._instance_dict.clear()
    Visualizer._instance_dict.clear()
    # Runs are named by their second; another one's logger writes to what it knew as stdout.
    for kind in (MMLogger, MessageHub, DefaultScope):
        for name in [name for name in kind._instance_dict if re.search(r'_\d{8}_\d{6}$', name)]:
            del kind._instance_dict[name]


def make_resnets_shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNets of one block a stage: every layer has its kind and width."""
    for kind, settings in shallow_resnets().items():
        monkeypatch.setattr(kind, 'arch_settings', settings)


def write_cityscapes(root: Path, num_train: int = 6, num_val: int = 2) -> None:
    """Write random 64×128 images and their labels in Cityscapes' folders."""
    rng = np.random.default_rng(0)
    for split, num in (('train', num_train), ('val', num_val)):
        for index in range(num):
            label = np.full((64, 128), rng.integers(19), np.uint8)
            label[20:40, 30:90] = rng.integers(19)
            label[:4] = 255
            image = label[..., None] * np.array([11, 7, 5]) + rng.integers(0, 20, (64, 128, 3))
            name = f'toy/toy_{index:06d}_000019'
            for folder, suffix, array in (
                ('leftImg8bit', 'leftImg8bit', image.astype(np.uint8)),
                ('gtFine', 'gtFine_labelTrainIds', label),
            ):
                path = root / folder / split / f'{name}_{suffix}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), array)


def toy_config(folder: Path, max_iters: int, **options: object) -> Config:
    """mmseg's PSPNet for Cityscapes, narrowed, on the images that ``write_cityscapes`` wrote.

    Args:
        folder: Holds the images in ``data``, and gets the work directory ``work``.
        max_iters: Length of the training; a checkpoint and a validation every 4 iterations.
        options: Further settings, with '__' between levels.
    """
    file = folder / 'toy.py'
    file.write_text(_CONFIG)
    config = Config.fromfile(file)
    crop_size = (64, 64)
    train_pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'LoadAnnotations'},
        {'type': 'RandomResize', 'scale': (128, 64), 'ratio_range': (0.5, 2.0), 'keep_ratio': True},
        {'type': 'RandomCrop', 'crop_size': crop_size, 'cat_max_ratio': 0.75},
        {'type': 'RandomFlip', 'prob': 0.5},
        {'type': 'PhotoMetricDistortion'},
        {'type': 'PackSegInputs'},
    ]
    test_pipeline = [
        {'type': 'LoadImageFromFile'},
        {'type': 'Resize', 'scale': (128, 64), 'keep_ratio': True},
        {'type': 'LoadAnnotations'},
        {'type': 'PackSegInputs'},
    ]
    config.merge_from_dict(
        {
            'work_dir': str(folder / 'work'),
            # What inference_model reads, unlike MMSegInferencer.
            'test_pipeline': test_pipeline,
            'randomness': {'seed': 0},
            'model.pretrained': None,
            'model.data_preprocessor.size': crop_size,
            'model.backbone.base_channels': 8,
            'model.decode_head': {'in_channels': 64, 'channels': 16},
            'model.auxiliary_head': {'in_channels': 32, 'channels': 8},
            'train_dataloader': {'batch_size': 2, 'num_workers': 0, 'persistent_workers': False},
            'train_dataloader.dataset.data_root': str(folder / 'data'),
            'train_dataloader.dataset.pipeline': train_pipeline,
            'train_cfg': {'max_iters': max_iters, 'val_interval': 4},
            'default_hooks.checkpoint': {'interval': 4, 'save_best': 'mIoU'},
            'default_hooks.logger.interval': 1,
            'default_hooks.visualization': {'draw': True, 'interval': 1},
        }
    )
    for split in ('val', 'test'):
        config.merge_from_dict(
            {
                f'{split}_dataloader': {'num_workers': 0, 'persistent_workers': False},
                f'{split}_dataloader.dataset.data_root': str(folder / 'data'),
                f'{split}_dataloader.dataset.pipeline': test_pipeline,
            }
        )
    config.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return config


class LossLog(Hook):
    """Keeps the loss of every iteration."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses[runner.iter + 1] = outputs['loss'].item()


def train(folder: Path, max_iters: int, **options: object) -> tuple[Runner, dict[int, float]]:
    """The finished runner of ``toy_config``, and the loss of every iteration."""
    runner = Runner.from_cfg(toy_config(folder, max_iters, **options))
    log = LossLog()
    runner.register_hook(log)
    runner.train()
    return runner, log.losses
