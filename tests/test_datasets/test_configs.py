"""Every config on a tiny dataset in its official layout: converter, checker, dataset, one training
step, evaluation."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import layouts
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.optim import build_optim_wrapper
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, MODELS

from ddf_seg.datasets.acdc import CONDITIONS
from ddf_seg.engine.checks.dataset import check_all
from ddf_seg.engine.config_file import read_config

ROOT = Path(__file__).parents[2]
CROP = (64, 64)


class Case(NamedTuple):
    """How a config's dataset comes to be.

    Args:
        layout: Writes it.
        converter: Name and folder for tools/dataset_converters.
        split: What the config is for; 'test' for one that trains nothing.
        options: Overrides.
        found: Kinds of findings that the checker is right to report.
    """

    layout: Callable[[Path], layouts.Labels]
    converter: tuple[str, str] | None = None
    split: str = 'train'
    options: Mapping[str, Any] = MappingProxyType({})
    found: frozenset[str] = frozenset()


# val is in the training, too.
TRAINVAL = Case(layouts.camvid_trainval, found=frozenset({'duplicates'}))
CASES = {
    'ddf_acdc': Case(layouts.acdc),
    'ddf_bdd100k': Case(layouts.bdd100k),
    'ddf_camvid': Case(layouts.camvid),
    'ddf_camvid_finetune': Case(layouts.camvid),
    'ddf_camvid_trainval': TRAINVAL,
    'ddf_camvid_trainval_finetune': TRAINVAL,
    'ddf_camvid-lite2_trainval': TRAINVAL,
    'ddf_camvid-lite2_trainval_finetune': TRAINVAL,
    'ddf_camvid-720x960': Case(layouts.camvid_strict, ('camvid', 'camvid_full')),
    'ddf_camvid32': Case(layouts.camvid_all, ('camvid', 'camvid_full')),
    'ddf_cityscapes': Case(layouts.cityscapes, ('cityscapes', 'cityscapes')),
    'ddf_cityscapes_test-acdc': Case(layouts.acdc, split='test'),
    'ddf_cityscapes_test-acdc-fog': Case(layouts.acdc, split='test'),
    'ddf_cityscapes_test-acdc-night': Case(layouts.acdc, split='test'),
    'ddf_cityscapes_test-acdc-rain': Case(layouts.acdc, split='test'),
    'ddf_cityscapes_test-acdc-snow': Case(layouts.acdc, split='test'),
    'ddf_cityscapes_test-dark-zurich': Case(layouts.dark_zurich, split='test'),
    'ddf_cityscapes_test-foggy-cityscapes': Case(layouts.foggy_cityscapes, split='test'),
    'ddf_cityscapes_test-foggy-driving': Case(
        layouts.foggy_driving, ('cityscapes', 'foggy_driving'), split='test'
    ),
    'ddf_cityscapes_test-muses': Case(layouts.muses, split='test'),
    'ddf_cityscapes_test-night-driving': Case(layouts.night_driving, split='test'),
    'ddf_demo': Case(layouts.demo),
    'ddf_gta5': Case(layouts.gta5, ('gta5', 'gta5')),
    'ddf_idd': Case(layouts.idd, ('idd', 'IDD_Segmentation')),
    'ddf_kitti': Case(layouts.kitti, ('kitti', 'kitti')),
    'ddf_mapillary': Case(layouts.mapillary),
    'ddf_nuimages': Case(layouts.nuimages, ('nuimages', 'nuimages')),
    # Of 4 images instead of 8500
    'ddf_railsem19': Case(
        layouts.railsem19,
        options={
            'train_dataloader.dataset.indices': 2,
            'val_dataloader.dataset.indices': -2,
            'test_dataloader.dataset.indices': -2,
        },
    ),
    'ddf_synthia': Case(layouts.synthia, ('synthia', 'RAND_CITYSCAPES')),
    'ddf_wilddash2': Case(layouts.wilddash2, ('wilddash2', 'wilddash2')),
}


def test_every_config_is_here() -> None:
    assert {file.stem for file in (ROOT / 'configs').glob('*.py')} == set(CASES)
    assert len(CASES) == 30


def convert(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a converter in this process, twice: the second run has nothing to do."""
    script = ROOT / f'tools/dataset_converters/{name}.py'
    monkeypatch.setattr(sys, 'argv', [str(script), str(folder), '--jobs', '1'])
    originals = {file: file.read_bytes() for file in folder.rglob('*') if file.is_file()}
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(script), run_name='__main__')
        assert end.value.code == 0
    assert {file: file.read_bytes() for file in originals} == originals


def small(name: str, case: Case) -> Config:
    """A config with a narrow backbone, small images and small crops."""
    cfg = read_config(str(ROOT / f'configs/{name}.py'), case.options)
    cfg.merge_from_dict(case.options)
    cfg.model.data_preprocessor.size = CROP
    if cfg.model.backbone.type == 'ResNetV1c':
        cfg.model.pretrained = None
        cfg.model.backbone.update(base_channels=8, stem_channels=8)
        cfg.model.decode_head.update(in_channels=[32, 64, 128, 256], channels=16)
    else:
        cfg.model.backbone.init_cfg = None
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        for dataset in loader.dataset.get('datasets', [loader.dataset]):
            for step in dataset.pipeline:
                if 'scale' in step:
                    step.scale = (96, 64)
                if 'crop_size' in step:
                    step.crop_size = CROP
    if case.split == 'test':
        cfg.train_dataloader = cfg.val_dataloader = None
    return cfg


def check(cfg: Config, expected: layouts.Labels, allowed: frozenset[str]) -> None:
    """The checker finds nothing else but that random labels lack a class; datasets load these."""
    result = check_all(cfg, 1)
    found = [finding for finding in result.findings if finding.kind != 'unseen-classes']
    assert {finding.kind for finding in found} == allowed, found
    assert result.statistics
    for split, statistics in result.statistics.items():
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        loaded = [LoadAnnotations()(info)['gt_seg_map'] for info in infos]
        np.testing.assert_array_equal(loaded, expected[split])
        assert statistics.images == len(expected[split]) > 0
        assert len(dataset.metainfo['palette']) == cfg.model.decode_head.num_classes
        assert statistics.pixels.sum() == (np.array(expected[split]) != 255).sum()


def train(cfg: Config, model: torch.nn.Module) -> None:
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = model.decode_head.conv_seg.weight.clone()
    losses = model.train_step(pseudo_collate([dataset[0], dataset[1]]), optimizer)
    assert torch.isfinite(losses['loss'])
    assert not torch.equal(model.decode_head.conv_seg.weight, before)


def score(cfg: Config, model: torch.nn.Module, split: str) -> dict[str, float]:
    dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
    evaluator = Evaluator(cfg[f'{split}_evaluator'])
    evaluator.dataset_meta = dataset.metainfo
    model.eval()
    for index in range(len(dataset)):
        batch = pseudo_collate([dataset[index]])
        with torch.no_grad():
            evaluator.process(model.val_step(batch), batch)
    return evaluator.evaluate(len(dataset))


@pytest.mark.parametrize('name', CASES)
def test_a_config_from_download_to_score(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setenv('DDF_DATA_ROOT', str(tmp_path))
    expected = case.layout(tmp_path)
    condition = name.rpartition('-')[2]
    if condition in CONDITIONS:
        expected['test'] = [expected['test'][CONDITIONS.index(condition)]]
    if case.converter:
        convert(case.converter[0], tmp_path / case.converter[1], monkeypatch)
    cfg = small(name, case)
    check(cfg, expected, case.found)
    model = MODELS.build(cfg.model)
    model.init_weights()
    if case.split == 'train':
        assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters
        train(cfg, model)
        metrics = score(cfg, model, 'val')
    else:
        metrics = score(cfg, model, 'test')
        assert 0 <= metrics['mBIoU'] <= 100
    assert 0 <= metrics['mIoU'] <= 100


@pytest.mark.skipif(
    not Path(os.environ.get('DDF_DATA_ROOT', 'data'), 'camvid/val').is_dir(),
    reason='no CamVid in $DDF_DATA_ROOT/camvid',
)
def test_the_real_camvid() -> None:
    cfg = read_config(str(ROOT / 'configs/ddf_camvid.py'), None)
    cfg.train_dataloader = None
    result = check_all(cfg, 2)
    assert result.findings == []
    # Counted independently, from the published PNGs
    published = [
        *(1601620, 4531180, 98499, 5053176, 1521751, 2851125),
        *(155724, 537197, 304716, 113531, 387010),
    ]
    assert result.statistics['val'].pixels.tolist() == published
    assert result.statistics['val'].ignored == 297271
    cfg.model.backbone.init_cfg = None
    cfg.val_dataloader.dataset.indices = 2
    assert score(cfg, MODELS.build(cfg.model), 'val')['mIoU'] >= 0
