from __future__ import annotations

import os
import sys
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from openmmlab_toy import forget_visualizers
from scripts import load_script
from tool_runs import Run

CONFIG = """
_base_ = ['mmseg::_base_/datasets/cityscapes.py', 'mmseg::_base_/default_runtime.py']
custom_imports = dict(imports=['ddf_seg.openmmlab'], allow_failed_imports=False)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', size=(64, 64), pad_val=0, seg_pad_val=255, bgr_to_rgb=True,
        mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        type='ResNet', depth=18, num_stages=2, strides=(1, 2), dilations=(1, 1), base_channels=4,
        stem_channels=4, out_indices=(1,), norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='FCNHead', in_channels=8, in_index=0, channels=4, num_convs=1, num_classes=19,
        norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss')),
    train_cfg=dict(), test_cfg=dict(mode='whole'))
data_root = '{{$DDF_DATA_ROOT:data}}/roads'
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=[
        *load, dict(type='RandomCrop', crop_size=(64, 64)), dict(type='PackSegInputs')]))
val_dataloader = dict(
    num_workers=0, persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=[*load, dict(type='PackSegInputs')]))
test_dataloader = val_dataloader
test_pipeline = val_dataloader['dataset']['pipeline']
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='RandomFlip', prob=p, direction='horizontal') for p in (0.0, 1.0)],
        [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])]
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=4)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2),
    visualization=dict(type='SegVisualizationHook'))
"""


def write_split(root: Path, split: str, count: int) -> None:
    rng = np.random.default_rng(count)
    images, labels = root / 'leftImg8bit' / split / 'town', root / 'gtFine' / split / 'town'
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    for index in range(count):
        image = rng.integers(0, 256, (64, 128, 3), dtype=np.uint8)
        label = rng.integers(0, 19, (8, 16), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        label[:4] = 255
        cv2.imwrite(str(images / f'town_{index}_leftImg8bit.png'), image)
        cv2.imwrite(str(labels / f'town_{index}_gtFine_labelTrainIds.png'), label)


@pytest.fixture(scope='session')
def roads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with roads/, a tiny dataset in Cityscapes' layout, and config.py for it."""
    folder = tmp_path_factory.mktemp('roads')
    write_split(folder / 'roads', 'train', 4)
    write_split(folder / 'roads', 'val', 2)
    (folder / 'config.py').write_text(CONFIG)
    return folder


@pytest.fixture
def environment(roads: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """For the tools, in this process and in others."""
    monkeypatch.setenv('DDF_DATA_ROOT', str(roads))
    # mmseg's tools set it for the whole process.
    monkeypatch.setenv('LOCAL_RANK', '0')
    return {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHON': sys.executable}


class _Run:
    out = err = ''

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch = monkeypatch
        self.capsys = capsys

    def __call__(self, name: str, *arguments: object) -> tuple[int, str]:
        forget_visualizers()
        self.monkeypatch.setattr(sys, 'argv', [f'tools/{name}.py', *map(str, arguments)])
        self.capsys.readouterr()
        code = load_script(f'tools/{name}.py').main()
        self.out, self.err = self.capsys.readouterr()
        return code, self.err.partition('error: ')[2]


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    return _Run(monkeypatch, capsys)


@pytest.fixture(scope='session')
def trained(roads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a finished training in mixed precision."""
    work_dir = tmp_path_factory.mktemp('trained')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DDF_DATA_ROOT', str(roads))
        patch.setenv('LOCAL_RANK', '0')
        arguments = [roads / 'config.py', '--work-dir', work_dir, '--amp']
        # What tests ask of its predictions must not hang on a start drawn at random.
        arguments += ['--cfg-options', 'randomness.seed=0']
        forget_visualizers()
        patch.setattr(sys, 'argv', ['train', *map(str, arguments)])
        assert load_script('tools/train.py').main() == 0
    return work_dir
