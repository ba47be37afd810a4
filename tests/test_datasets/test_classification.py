"""Images with a class each: folders that are not as they should be, and what the crops show."""

import re
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from ddf_seg.errors import UsageError


def write_images(root: Path, part: str = 'train', **images: int) -> Path:
    """Folders of classes, with so many images each; red tells the class."""
    for i, (name, count) in enumerate(images.items()):
        folder = root / part / name
        folder.mkdir(parents=True)
        (folder / 'notes.txt').write_text('no image')
        for number in range(count):
            Image.new('RGB', (20, 16), (50 * i + 10, 0, 0)).save(folder / f'{number}.PNG')
    return root


def build(root: Path, part: str = 'train', **kwargs: Any) -> Any:
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackClass')]
    cfg = dict(type='ImageFolders', data_root=str(root), part=part, pipeline=pipeline, **kwargs)
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(cfg)


def test_labels_are_the_folders_positions(tmp_path: Path) -> None:
    dataset = build(write_images(tmp_path, n02=1, n10=2, n01=3), count=3)
    assert dataset.metainfo['classes'] == ('n01', 'n02', 'n10')
    samples = [dataset[i] for i in range(len(dataset))]
    assert [int(sample['data_samples']) for sample in samples] == [0, 0, 0, 1, 2, 2]
    # The last channel is red; n01 was written third.
    assert [int(sample['inputs'][2, 0, 0]) for sample in samples] == [110, 110, 110, 10, 60, 60]
    assert samples[0]['inputs'].shape == (3, 16, 20)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f'{tmp_path}/none/train: expected a folder')):
        build(tmp_path / 'none')
    write_images(tmp_path, n01=1, n02=0)
    with pytest.raises(
        UsageError, match=re.escape(f'{tmp_path}/train: expected 1000 folders, got')
    ):
        build(tmp_path, count=1000)
    with pytest.raises(UsageError, match=re.escape(f'{tmp_path}/train/n02: expected images (.bmp')):
        build(tmp_path)


def test_all_parts_have_the_classes_of_training(tmp_path: Path) -> None:
    write_images(tmp_path, 'val', n01=1, n03=1)
    # Who only scores has no images to train with.
    assert len(build(tmp_path, 'val')) == 2
    write_images(tmp_path, n01=1, n02=1, n03=1)
    with pytest.raises(UsageError) as caught:
        build(tmp_path, 'val')
    assert str(caught.value) == (
        f'{tmp_path}/val: expected the same folders as in {tmp_path}/train; only one of both '
        'has n02'
    )
    write_images(tmp_path, 'val', n02=1)
    labels = [int(sample['data_samples']) for sample in build(tmp_path, 'val')]
    assert labels == [0, 1, 2]
    # As many, but another one
    (tmp_path / 'val/n02').rename(tmp_path / 'val/n2')
    with pytest.raises(UsageError, match=r'only one of both has n02, n2$'):
        build(tmp_path, 'val', count=3)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    dataset = build(write_images(tmp_path, n01=1))
    (tmp_path / 'train/n01/0.PNG').write_bytes(b'no image')
    with pytest.raises(Exception, match=r'n01/0\.PNG'):
        dataset[0]


def ramp(height: int, width: int) -> np.ndarray:
    """An image whose first two channels tell row and column."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1)


def change(image: np.ndarray, type: str, **kwargs: Any) -> np.ndarray:
    results = TRANSFORMS.build(dict(type=type, **kwargs))(dict(img=image))
    assert results['img_shape'] == results['img'].shape[:2]
    return results['img']


def test_random_parts_have_the_areas_and_ratios_asked_for() -> None:
    set_random_seed(0)
    image, size = ramp(80, 120), 16
    areas, ratios, middles = [], [], []
    for _ in range(400):
        part = change(image, 'RandomAreaCrop', size=size, area=(0.1, 0.5), ratio=(0.5, 2.0))
        assert part.shape == (size, size, 3)
        # Inside, scaling keeps a ramp's slope, which tells how large the part was.
        height = (part[-4, 8, 0] - part[3, 8, 0]) / (size - 7) * size
        width = (part[8, -4, 1] - part[8, 3, 1]) / (size - 7) * size
        areas.append(height * width / (80 * 120))
        ratios.append(width / height)
        middles.append(part[8, 8, :2])
    assert 0.08 < min(areas) < 0.13
    assert 0.44 < max(areas) < 0.53
    assert 0.45 < min(ratios) < 0.6
    assert 1.7 < max(ratios) < 2.2
    # Drawn evenly by the logarithm: half of them are tall.
    assert abs(float(np.mean(np.log(ratios)))) < 0.1
    assert np.std(middles, axis=0).min() > 5


@pytest.mark.parametrize(
    ('height', 'width', 'ratio', 'part'),
    [
        (2, 300, (0.75, 4 / 3), (2, 2)),
        (300, 3, (0.75, 4 / 3), (4, 3)),
        # What the ratios allow is less than a pixel.
        (9, 1, (1.5, 2.0), (1, 1)),
        (1, 9, (0.3, 0.5), (1, 1)),
    ],
)
def test_of_a_line_there_is_the_middle(
    height: int, width: int, ratio: tuple[float, float], part: tuple[int, int]
) -> None:
    out = change(ramp(height, width), 'RandomAreaCrop', size=8, area=(0.9, 1), ratio=ratio)
    expected = [
        slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip((height, width), part, strict=True)
    ]
    middle = ramp(height, width)[tuple(expected)]
    np.testing.assert_allclose(out.mean((0, 1)), middle.mean((0, 1)), atol=1e-3)
    np.testing.assert_allclose(np.ptp(out[..., :2], (0, 1)) > 0, np.array(part) > 1)


def test_the_middle_is_scored() -> None:
    """224 pixels of an image whose shorter side has 256: 7 / 8 of it."""
    pipeline = Config.fromfile('configs/_base_/classification/in1k.py').test_pipeline
    scaled, cropped, packed = map(TRANSFORMS.build, pipeline[1:])
    for height, width in ((150, 225), (225, 150), (64, 80)):
        image = ramp(height, width).astype(np.uint8)
        out = packed(cropped(scaled(dict(img=image, gt_label=0))))['inputs'].numpy().astype(float)
        assert out.shape == (3, 224, 224)
        # A pixel's middle is at + 0.5.
        middle = (np.array([height, width]) - 1) / 2
        assert np.abs(out.mean((1, 2))[:2] - middle).max() < 0.8
        assert out[0, -9, 0] - out[0, 8, 0] == pytest.approx(
            min(height, width) / 256 * 207, abs=1.6
        )


def test_shifts() -> None:
    set_random_seed(0)
    image = ramp(10, 12) + 1
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    windows = {
        padded[top : top + 10, left : left + 12].tobytes(): (top, left)
        for top in range(9)
        for left in range(9)
    }
    found = {windows[change(image, 'ShiftCrop', most=4).tobytes()] for _ in range(1500)}
    assert len(found) == 81


def test_jitter() -> None:
    set_random_seed(0)
    image = np.random.default_rng(0).uniform(60, 160, (6, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(change(image, 'ColourJitter', strength=0.0), image, atol=1e-3)
    # Of a grey area, the brightness alone changes.
    grey = np.full((4, 4, 3), 100, np.float32)
    factors = (
        np.array([change(grey, 'ColourJitter', strength=0.4).mean() for _ in range(300)]) / 100
    )
    assert 0.6 - 1e-5 <= factors.min() < 0.63
    assert 1.37 < factors.max() <= 1.4 + 1e-5
    changed = change(image, 'ColourJitter', strength=0.4)
    assert np.abs(changed - image).max() > 1
    # Contrast and saturation: the order of the channels' differences stays.
    assert np.corrcoef((changed[..., 0] - changed[..., 1]).ravel(),
                       (image[..., 0] - image[..., 1]).ravel())[0, 1] > 0.99  # fmt: skip


def test_packing() -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    packed = TRANSFORMS.build(dict(type='PackClass'))(dict(img=image[:, ::-1], gt_label=7))
    assert packed['data_samples'] == torch.tensor(7)
    assert packed['inputs'].tolist() == image[:, ::-1].transpose(2, 0, 1).tolist()
