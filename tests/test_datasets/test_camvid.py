"""CamVid: void is ignored, a subset of the classes maps as mmseg does, palette and names fit."""

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

import ddf_seg.openmmlab  # noqa: F401

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def root(tmp_path):
    for name in ('train', 'trainannot'):
        (tmp_path / name).mkdir()
    labels = np.arange(12, dtype=np.uint8).repeat(10).reshape(12, 10)
    cv2.imwrite(str(tmp_path / 'trainannot/0001TP_006690.png'), labels)
    cv2.imwrite(str(tmp_path / 'train/0001TP_006690.png'), np.zeros((12, 10, 3), np.uint8))
    return tmp_path


def labels_of(root, **kwargs):
    dataset = DATASETS.build(
        dict(
            type='CamVidDataset',
            data_root=str(root),
            data_prefix=dict(img_path='train', seg_map_path='trainannot'),
            pipeline=PIPELINE,
            **kwargs,
        )
    )
    assert len(dataset) == 1
    return dataset, dataset[0]['gt_seg_map'][:, 0].tolist()


def test_void_becomes_ignore(root):
    dataset, labels = labels_of(root)
    assert labels == [*range(11), 255]
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 11


def test_a_subset_of_the_classes_keeps_void_ignored(root):
    dataset, labels = labels_of(root, metainfo=dict(classes=('Pole', 'Car')))
    assert labels == [255, 255, 0, 255, 255, 255, 255, 255, 1, 255, 255, 255]
    assert dataset.metainfo['palette'] == [[192, 192, 128], [64, 0, 128]]


def test_drives_are_chosen_by_the_names_beginning(root):
    for name in ('0016E5_00390', '0006R0_f00930'):
        cv2.imwrite(str(root / f'train/{name}.png'), np.zeros((12, 10, 3), np.uint8))
        cv2.imwrite(str(root / f'trainannot/{name}.png'), np.zeros((12, 10), np.uint8))
    dataset, _ = labels_of(root, drives=['0001TP'])
    assert dataset.get_data_info(0)['img_path'].endswith('0001TP_006690.png')
    with pytest.raises(
        ValueError, match=r"drives: expected some of \['0001TP', '0006R0', '0016E5'\]"
    ):
        labels_of(root, drives=['0005VD'])
