"""A dataset that cannot read one of its files names it; without the mend it does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import UnidentifiedImageError
from torch.utils.data import DataLoader

from ddf_seg.errors import UsageError


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / f'images/{index}.png'), np.zeros((8, 10, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'labels/{index}.png'), np.zeros((8, 10), np.uint8))
    return tmp_path


def build(root: Path, *steps: Any) -> Any:
    init_default_scope('mmseg')
    return DATASETS.build(
        {
            'type': 'BaseSegDataset',
            'img_suffix': '.png',
            'serialize_data': False,
            'data_root': str(root),
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'labels'},
            'metainfo': {'classes': ('road', 'pole')},
            'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}, *steps],
        }
    )


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-25])


def empty(file: Path) -> None:
    file.write_bytes(b'')


def other(file: Path) -> None:
    file.write_bytes(b'no image')


@pytest.mark.parametrize(
    ('fault', 'file', 'expected'),
    [
        (empty, 'images/1.png', 'the image cannot be read: empty file'),
        (other, 'images/1.png', 'the image cannot be read: damaged, cut off, or no image: OpenCV'),
        (Path.unlink, 'images/1.png', 'the image cannot be read: missing'),
        (empty, 'labels/1.png', 'the label cannot be read: empty file'),
        (cut, 'labels/1.png', 'the label cannot be read: image file is truncated'),
        (other, 'labels/1.png', 'the label cannot be read: no image, or'),
    ],
)
def test_what_cannot_be_read_is_named(
    roads: Path, fault: Callable[[Path], None], file: str, expected: str
) -> None:
    dataset = build(roads)
    assert dataset[1]['gt_seg_map'].shape == (8, 10)
    fault(roads / file)
    with pytest.raises(UsageError) as error:
        dataset[1]
    assert str(error.value).startswith(f'{roads / file}: {expected}')
    assert 'BytesIO' not in str(error.value)


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((4, 5), 'the label has another size than {image}: 5×4 for an image of 10×8'),
        ((16, 20), 'the label has another size than {image}: 20×16 for an image of 10×8'),
        ((8, 10, 3), 'it has several channels, its array has shape (8, 10, 3)'),
        ((1, 1), 'it is 1 pixel high or wide, its array has shape ()'),
    ],
)
def test_labels_of_another_shape(roads: Path, shape: tuple[int, ...], expected: str) -> None:
    # They are cropped before anything else could notice.
    dataset = build(roads, {'type': 'RandomCrop', 'crop_size': (4, 4)})
    cv2.imwrite(str(roads / 'labels/1.png'), np.zeros(shape, np.uint8))
    with pytest.raises(UsageError) as error:
        dataset[1]
    message = str(error.value)
    assert message.startswith(f'{roads / "labels/1.png"}: ')
    assert message.endswith(expected.format(image=roads / 'images/1.png'))


def test_a_label_is_compared_with_the_image_as_read(roads: Path) -> None:
    # Test pipelines resize the image first, and leave the label as it is.
    dataset = build(roads)
    resize = TRANSFORMS.build({'type': 'Resize', 'scale': (20, 16)})
    dataset.pipeline.transforms.insert(1, resize)
    sample = dataset[1]
    assert sample['img'].shape[:2] == (16, 20)
    assert sample['gt_seg_map'].shape == (8, 10)


def fail(results: dict[str, Any]) -> None:
    raise KeyError('depth')


def test_what_a_transform_cannot_take_is_named(roads: Path) -> None:
    files = f'{roads / "images/1.png"} with label {roads / "labels/1.png"}'
    # 0 pixels
    dataset = build(roads, {'type': 'Resize', 'scale_factor': 0.01})
    with pytest.raises(UsageError, match='Resize failed on') as error:
        dataset[1]
    assert files in str(error.value)
    # One of the user's own keeps its traceback.
    dataset = build(roads, fail)
    with pytest.raises(RuntimeError, match='function failed on') as own:
        dataset[1]
    assert files in str(own.value)
    assert isinstance(own.value.__cause__, KeyError)


def test_from_another_process_the_message_comes_alone(roads: Path) -> None:
    dataset = build(roads)
    empty(roads / 'labels/0.png')
    with pytest.raises(UsageError) as error:
        list(DataLoader(dataset, num_workers=1))
    assert str(error.value) == f'{roads / "labels/0.png"}: the label cannot be read: empty file'


def test_the_installed_packages_have_the_defect(
    roads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty(roads / 'labels/0.png')
    cv2.imwrite(str(roads / 'labels/1.png'), np.zeros((16, 20), np.uint8))
    for owner, name in ((BaseDataset, 'prepare_data'), (LoadAnnotations, 'transform')):
        monkeypatch.setattr(owner, name, getattr(owner, name).__wrapped__)
    dataset = build(roads)
    with pytest.raises(UnidentifiedImageError, match='BytesIO'):
        dataset[0]
    assert dataset[1]['gt_seg_map'].shape == (16, 20)
