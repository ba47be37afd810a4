"""Every fault is found, and named; a sound dataset has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from ddf_seg.engine.dataset_check import (
    Finding,
    Severity,
    check_all,
    check_quickly,
    exit_code,
    format_report,
    to_json,
)
from ddf_seg.engine.errors import UsageError

NUM_CLASSES = 3
LOAD = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]


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


def make_config(root: Path, **changes: Any) -> Config:
    def loader(split: str) -> dict[str, Any]:
        dataset = {
            'type': 'BaseSegDataset',
            'img_suffix': '.png',
            'data_root': str(root),
            'data_prefix': {'img_path': f'images/{split}', 'seg_map_path': f'labels/{split}'},
            'metainfo': {'classes': ('road', 'pole', 'car')},
            'pipeline': LOAD,
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


def find(cfg: Config) -> dict[str, Finding]:
    findings = check_all(cfg, 1).findings
    assert len({finding.kind for finding in findings}) == len(findings)
    return {finding.kind: finding for finding in findings}


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


def test_missing_and_extra_files(roads: Path) -> None:
    (roads / 'labels/train/1.png').unlink()
    (roads / 'images/train/2.png').unlink()
    found = find(make_config(roads))
    assert found['missing-label'].files == [str(roads / 'labels/train/1.png')]
    assert found['extra-labels'].files == [str(roads / 'labels/train/2.png')]
    assert found['extra-labels'].severity is Severity.WARNING
    assert set(found) == {'missing-label', 'extra-labels'}
    listed = roads / 'list.txt'
    listed.write_text('0\n2\n')
    cfg = make_config(roads)
    cfg.train_dataloader.dataset.ann_file = str(listed)
    assert find(cfg)['missing-image'].files == [str(roads / 'images/train/2.png')]
    with pytest.raises(UsageError, match='image files are missing'):
        check_quickly(cfg, ('train',))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_damaged_files(roads: Path, suffix: str) -> None:
    if suffix == '.jpg':
        for file in roads.glob('images/*/*.png'):
            image = cv2.imread(str(file))
            assert image is not None
            cv2.imwrite(str(file.with_suffix('.jpg')), cv2.resize(image, (100, 80)))
            label = np.arange(80 * 100).reshape(80, 100) % NUM_CLASSES
            cv2.imwrite(str(roads / 'labels' / file.parent.name / file.name), label)
    cut = roads / f'images/train/1{suffix}'
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    (roads / f'images/train/3{suffix}').write_bytes(b'')
    (roads / 'labels/train/4.png').write_bytes(b'no image')
    found = find(make_config(roads, img_suffix=suffix))
    assert found['unreadable-image'].files == [
        str(roads / f'images/train/{index}{suffix}') for index in (1, 3)
    ]
    assert 'truncated' in found['unreadable-image'].message
    assert found['unreadable-label'].files == [str(roads / 'labels/train/4.png')]
    assert all(finding.severity is Severity.ERROR for kind, finding in found.items()
               if kind.startswith('unreadable'))  # fmt: skip


def test_sizes_and_encodings(roads: Path) -> None:
    folder = roads / 'labels/train'
    cv2.imwrite(str(folder / '0.png'), np.zeros((10, 8), np.uint8))
    cv2.imwrite(str(folder / '1.png'), np.zeros((8, 10, 3), np.uint8))
    cv2.imwrite(str(folder / '2.png'), np.full((8, 10), 7 * 256 + 1, np.uint16))
    cv2.imwrite(str(roads / 'labels/val/0.png'), np.ones((8, 10), np.uint16))
    result = check_all(make_config(roads), 1)
    found = {(finding.kind, finding.split): finding for finding in result.findings}
    assert set(found) == {
        ('sizes-differ', 'train'),
        ('colour-labels', 'train'),
        ('wide-labels', 'train'),
        ('wide-labels', 'val'),
    }
    assert '8×10 for an image of 10×8' in found['sizes-differ', 'train'].message
    assert 'mode RGB' in found['colour-labels', 'train'].message
    assert found['colour-labels', 'train'].files == [str(folder / '1.png')]
    assert 'up to 1793' in found['wide-labels', 'train'].message
    assert found['wide-labels', 'train'].severity is Severity.ERROR
    assert found['wide-labels', 'val'].severity is Severity.WARNING
    assert exit_code(result) == 4


def test_ids_that_are_no_class(roads: Path) -> None:
    label = np.zeros((8, 10), np.uint8)
    label[0], label[1, :4] = 7, 3
    for index in (1, 3):
        cv2.imwrite(str(roads / f'labels/train/{index}.png'), label)
    finding = find(make_config(roads))['foreign-ids']
    assert finding.files == [str(roads / f'labels/train/{index}.png') for index in (1, 3)]
    for part in ('3 (8 pixels), 7 (20 pixels)', 'expected 0 to 2', '3 classes', 'BaseSegDataset'):
        assert part in finding.message
    with pytest.raises(UsageError, match='holds label id 3, 7: expected'):
        check_quickly(make_config(roads), ('train',))
    # A palette's indices are ids.
    image = Image.fromarray(np.full((8, 10), 2, np.uint8))
    image.putpalette([9, 9, 9] * 256)
    for index in (1, 3):
        image.save(roads / f'labels/train/{index}.png')
    assert find(make_config(roads)) == {}


def test_the_datasets_own_mapping_counts(roads: Path) -> None:
    # reduce_zero_label: 0 is ignored, 1 and 2 become 0 and 1.
    result = check_all(make_config(roads, reduce_zero_label=True), 1)
    assert result.statistics['train'].pixels.tolist() == [50, 50, 0]
    assert result.statistics['train'].ignored == 250 + 50
    assert [finding.kind for finding in result.findings] == ['unseen-classes'] * 2
    assert 'cannot be learned: car' in result.findings[0].message
    assert exit_code(result) == 3


def test_models_and_datasets_classes(roads: Path) -> None:
    cfg = make_config(roads)
    cfg.model.decode_head = [{'num_classes': 2}, {'num_classes': 2}]
    kinds = {finding.kind for finding in check_all(cfg, 1).findings}
    assert kinds == {'number-of-classes', 'foreign-ids'}


def test_duplicates_are_found_by_their_pixels(roads: Path) -> None:
    # Another name, another compression
    with Image.open(roads / 'images/train/4.png') as image:
        image.save(roads / 'images/val/1.png', compress_level=0)
    finding = find(make_config(roads))['duplicates']
    assert finding.split == 'val'
    assert finding.files == [str(roads / 'images/val/1.png')]
    assert str(roads / 'images/train/4.png') in finding.message
    # The same folder twice
    cfg = make_config(roads)
    cfg.val_dataloader.dataset.data_prefix = cfg.train_dataloader.dataset.data_prefix
    cfg.test_dataloader = None
    cfg.val_dataloader.dataset.indices = 3
    assert len(find(cfg)['duplicates'].files) == 3


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
    assert f'ERROR train: 1 image files cannot be read, the first: empty file\n    {roads}' in text
