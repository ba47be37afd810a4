"""A check as a whole: a sound dataset has no fault, and what is found is reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
from tiny_roads import LOAD, make_config

from ddf_seg.engine.checks.dataset import (
    check_all,
    check_quickly,
    exit_code,
    format_report,
    to_json,
)


def test_a_sound_dataset(roads: Path) -> None:
    result = check_all(make_config(roads), 1)
    assert result.findings == []
    assert exit_code(result) == 0
    # test repeats val.
    assert set(result.statistics) == {'train', 'val'}
    train = result.statistics['train']
    assert train.pixels.tolist() == [250, 50, 50]
    assert train.images_with.tolist() == [5, 5, 5]
    assert train.ignored == 50
    check_quickly(make_config(roads), ('train', 'val'))
    text = format_report(result)
    assert 'train: 5 images, 12.5 % of the pixels ignored' in text
    assert 'Nothing found.' in text


def test_class_weights(roads: Path) -> None:
    # Class 2 stands in one image only.
    for index in range(1, 5):
        label = np.zeros((8, 10), np.uint8)
        label[0] = 1
        cv2.imwrite(str(roads / f'labels/train/{index}.png'), label)
    weights = check_all(make_config(roads), 1).statistics['train'].class_weights()
    frequency = np.array([(50 + 4 * 70) / 400, 50 / 400, 10 / 80])
    np.testing.assert_allclose(
        weights['median_frequency'], np.median(frequency) / frequency, atol=1e-4
    )
    inverse = 1 / np.sqrt(np.array([330, 50, 10]) / 390)
    np.testing.assert_allclose(weights['inverse_sqrt'], inverse / inverse.mean(), atol=1e-4)


def test_joined_datasets_and_labels_that_are_not_loaded(roads: Path) -> None:
    cfg = make_config(roads)
    leaf = cfg.train_dataloader.dataset
    repeated = {'type': 'RepeatDataset', 'times': 3, 'dataset': leaf}
    cfg.train_dataloader.dataset = {'type': 'ConcatDataset', 'datasets': [leaf, repeated]}
    cfg.val_dataloader.dataset.pipeline = LOAD[:1]
    shutil.rmtree(roads / 'labels/val')
    (roads / 'labels/val').mkdir()
    (roads / 'labels/val/0.txt').touch()
    cfg.test_dataloader = None
    result = check_all(cfg, 1)
    assert result.findings == []
    assert result.statistics['val'].pixels.sum() == 0


def test_a_missing_folder_does_not_hide_the_rest(roads: Path) -> None:
    (roads / 'labels/train/0.png').unlink()
    shutil.rmtree(roads / 'images/val')
    cfg = make_config(roads)
    findings = check_all(cfg, 1).findings
    assert [(finding.kind, finding.split) for finding in findings] == [
        ('missing-folder', 'val'),
        ('missing-folder', 'test'),
        ('missing-label', 'train'),
    ]


def test_several_processes_and_json(roads: Path) -> None:
    for index in range(5, 25):
        for kind in ('images', 'labels'):
            shutil.copy(roads / kind / 'train/0.png', roads / kind / f'train/{index}.png')
    (roads / 'images/train/9.png').write_bytes(b'')
    result = check_all(make_config(roads), 2)
    content = json.loads(json.dumps(to_json(result)))
    assert content['splits']['train']['images_read'] == content['splits']['train']['images'] == 25
    assert content['splits']['train']['classes'][1] == {'name': 'pole', 'pixels': 250, 'images': 25}
    (finding,) = content['findings']
    assert finding['files'] == [str(roads / 'images/train/9.png')]
    assert (finding['severity'], finding['kind'], finding['count']) == (
        'error',
        'unreadable-image',
        1,
    )
    text = format_report(result)
    expected = 'ERROR train: 1 image file could not be read, the first: empty file'
    assert f'{expected}\n    {roads}' in text
