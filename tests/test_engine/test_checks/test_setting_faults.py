"""Settings that contradict each other are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
from mmengine.config import Config
from tiny_roads import LOAD, find, make_config

from ddf_seg.engine.checks.dataset import (
    Severity,
    check_all,
    check_class_weights,
    check_quickly,
)
from ddf_seg.errors import UsageError


def test_models_and_datasets_classes(roads: Path) -> None:
    cfg = make_config(roads)
    cfg.model.decode_head = [{'num_classes': 2}, {'num_classes': 2}]
    kinds = {finding.kind for finding in check_all(cfg, 1).findings}
    assert kinds == {'number-of-classes', 'foreign-ids'}


def pad(cfg: Config, **settings: Any) -> Config:
    cfg.model.data_preprocessor = {'size': (8, 8), **settings}
    return cfg


def test_padding_is_the_ignored_id(roads: Path) -> None:
    cfg = pad(make_config(roads))
    assert find(cfg, 'train') == {}
    cfg.model.decode_head.ignore_index = 0
    finding = find(cfg, 'train')['ignored-ids']
    assert finding.severity is Severity.ERROR
    assert 'seg_pad_val of model.data_preprocessor is 255, model.decode_head ignores 0' in (
        finding.message
    )
    with pytest.raises(UsageError, match=r'seg_pad_val of model\.data_preprocessor is 255'):
        check_quickly(cfg, ('train',))
    cfg.model.data_preprocessor.seg_pad_val = 0
    assert 'ignored-ids' not in find(cfg, 'train')
    # Now, padding would be learned.
    cfg.model.auxiliary_head = [{'num_classes': 3}]
    finding = find(cfg, 'train')['ignored-ids']
    assert finding.severity is Severity.WARNING
    assert 'model.auxiliary_head.0 ignores 255' in finding.message


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        ({'type': 'Pad', 'size': (16, 16)}, 'pad_val (seg) of Pad'),
        ({'type': 'RandomRotate', 'prob': 1, 'degree': 9}, 'seg_pad_val of RandomRotate'),
        (
            {'type': 'RandomCutOut', 'prob': 1, 'n_holes': 1, 'cutout_shape': (2, 2),
             'seg_fill_in': 9},
            'seg_fill_in of RandomCutOut',
        ),
        (
            {'type': 'RandomChoice', 'transforms': [[{'type': 'Pad', 'size': (16, 16)}], []]},
            'pad_val (seg) of Pad',
        ),
    ],
)  # fmt: skip
def test_every_fill_of_the_pipeline_counts(
    roads: Path, step: dict[str, Any], expected: str
) -> None:
    cfg = make_config(roads)
    cfg.train_dataloader.dataset.pipeline = [*LOAD, step]
    cfg.model.decode_head.ignore_index = 0
    assert expected in find(cfg, 'train')['ignored-ids'].message


def test_what_a_dataset_makes_of_ids_is_ignored(roads: Path) -> None:
    cfg = make_config(roads, reduce_zero_label=True)
    cfg.model.decode_head.ignore_index = 2
    assert 'reduce_zero_label of BaseSegDataset makes of id 0 is 255' in (
        find(cfg, 'train')['ignored-ids'].message
    )


def test_the_score_ignores_what_the_loss_ignores(roads: Path) -> None:
    cfg = make_config(roads)
    cfg.val_evaluator = [{'type': 'IoUMetric', 'ignore_index': 0}]
    finding = find(cfg)['ignored-ids']
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith('val_evaluator.0 leaves id 0 out of the score, the loss')


def test_class_weights_of_another_number(roads: Path, tmp_path: Path) -> None:
    cfg = make_config(roads)
    cfg.model.decode_head.loss_decode = [{'class_weight': [1, 2, 3]}, {'class_weight': None}]
    assert find(cfg) == {}
    check_class_weights(cfg)
    cfg.model.auxiliary_head = {'num_classes': 5, 'loss_decode': {'class_weight': [1.0] * 3}}
    finding = find(cfg)['class-weights']
    key = 'model.auxiliary_head.loss_decode.class_weight'
    assert f'{key} has 3 weights, model.auxiliary_head has 5 classes' in finding.message
    assert f'--cfg-options {key}=None' in finding.message
    with pytest.raises(UsageError, match='has 3 weights'):
        check_class_weights(cfg)
    np.save(tmp_path / 'weights.npy', np.ones(5))
    cfg.model.auxiliary_head.loss_decode.class_weight = str(tmp_path / 'weights.npy')
    assert find(cfg) == {}
    cfg.model.auxiliary_head.loss_decode.class_weight = str(tmp_path / 'no.npy')
    assert 'no.npy' in find(cfg)['class-weights'].message


def test_reduce_zero_label_in_one_place_of_two(roads: Path) -> None:
    cfg = make_config(roads)
    loading = {'type': 'LoadAnnotations', 'reduce_zero_label': True}
    cfg.train_dataloader.dataset.pipeline = [LOAD[0], loading]
    finding = find(cfg)['reduce-zero-label']
    assert 'True in LoadAnnotations of the pipeline, and False in BaseSegDataset' in finding.message
    cfg.train_dataloader.dataset.reduce_zero_label = True
    assert 'reduce-zero-label' not in find(cfg)
