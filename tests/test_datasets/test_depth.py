"""Folders of images and depth maps: what is read, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS

from ddf_seg.errors import UsageError

SIZE = (20, 30)


def write(root: Path, names: tuple[str, ...] = ('a/1', 'a/2', 'b/1')) -> Path:
    """Images whose blue and green tell row and column, and depth of both."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    for i, name in enumerate(names):
        for kind in ('rgb', 'depth'):
            (root / kind / name).parent.mkdir(parents=True, exist_ok=True)
        image = np.stack([rows, columns, np.full(SIZE, i)], axis=-1).astype(np.uint8)
        cv2.imwrite(str(root / 'rgb' / f'{name}_rgb.png'), image)
        cv2.imwrite(str(root / 'depth' / f'{name}.png'), depth_of(rows, columns, i))
    return root


def depth_of(rows: np.ndarray, columns: np.ndarray, index: int) -> np.ndarray:
    return (1000 + 256 * index + 30 * rows.astype(int) + columns).astype(np.uint16)


def build(root: Path, *transforms: dict[str, Any], unit: float = 1 / 256) -> Any:
    cfg = dict(
        type='RGBDDataset',
        data_root=str(root),
        data_prefix=dict(img_path='rgb', depth_map_path='depth'),
        img_suffix='_rgb.png',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadDepth', unit=unit),
            *transforms,
            dict(type='PackSegInputs'),
        ],
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(cfg)


def test_pairs_stay_together_cropped_and_mirrored(tmp_path: Path) -> None:
    set_random_seed(0)
    crop = [dict(type='RandomCrop', crop_size=(8, 12)), dict(type='RandomFlip', prob=0.5)]
    dataset = build(write(tmp_path), *crop, unit=0.001)
    assert len(dataset) == 3
    starts = set()
    for _ in range(10):
        for i in range(3):
            sample = dataset[i]
            rows, columns, index = sample['inputs'].numpy()
            depth = sample['data_samples'].gt_depth_map.data.numpy()
            assert depth.shape == (1, 8, 12)
            assert depth.dtype == np.float32
            assert (index == i).all()
            np.testing.assert_allclose(depth[0], depth_of(rows, columns, i) * 0.001, rtol=1e-5)
            starts.add((int(rows[0, 0]), int(columns[0, 0]), bool(columns[0, 0] > columns[0, 1])))
    assert len(starts) > 15
    assert {mirrored for _, _, mirrored in starts} == {False, True}


@pytest.mark.parametrize(
    ('removed', 'message'),
    [
        ('depth/a/2.png', "depth: expected a depth map for each image, got none that ends in '.png'"
         ' for {root}/rgb/a/2_rgb.png'),
        ('rgb/b/1_rgb.png', "rgb: expected an image for each depth map, got none that ends in "
         "'_rgb.png' for {root}/depth/b/1.png"),
    ],
)  # fmt: skip
def test_a_missing_half_is_named(tmp_path: Path, removed: str, message: str) -> None:
    (write(tmp_path) / removed).unlink()
    with pytest.raises(UsageError, match=re.escape(f'{tmp_path}/{message.format(root=tmp_path)}')):
        build(tmp_path)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f'{tmp_path}/rgb: expected the folder of img')):
        build(tmp_path)
    (tmp_path / 'rgb').mkdir()
    with pytest.raises(UsageError, match=r"rgb: expected files that end in '_rgb.png', got none"):
        build(tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (np.ones((*SIZE, 3), np.uint8), 'one channel and 16 bits, got 3 channels of 8 bits'),
        (np.ones(SIZE, np.uint8), 'one channel and 16 bits, got 1 channel of 8 bits'),
        (b'no picture', 'one channel and 16 bits, got no image'),
        (b'', 'one channel and 16 bits, got no image'),
        (np.ones((20, 31), np.uint16), 'the size of its image, 30×20 pixels, got 31×20'),
        (np.eye(*SIZE, dtype=np.uint16), 'a depth in each pixel, got 0, which is none, in 580 pix'),
    ],
    ids=['colours', '8 bits', 'text', 'empty', 'size', 'holes'],
)
def test_what_is_no_depth_map_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    dataset, file = build(write(tmp_path)), tmp_path / 'depth/a/1.png'
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        cv2.imwrite(str(file), content)
    with pytest.raises(UsageError, match=re.escape(f'{file}: expected ') + '.*' + message):
        dataset[0]
