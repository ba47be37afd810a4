"""Files that are missing, damaged, unused, or of another size or orientation are named."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from tiny_roads import LOAD, NUM_CLASSES, find, make_config, make_more, write_label

from ddf_seg.engine.checks.dataset import (
    Severity,
    check_all,
    check_quickly,
    to_json,
)
from ddf_seg.errors import UsageError


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


def set_orientation(file: Path, orientation: int) -> Path:
    """Save an image as JPEG (of the same pixels, roughly) with the EXIF tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = file.with_suffix('.jpg')
    with Image.open(file) as image:
        image.save(target, exif=exif)
    file.unlink()
    return target


def as_jpeg(roads: Path, orientations: dict[str, int]) -> Config:
    for file in sorted(roads.glob('images/*/*.png')):
        set_orientation(file, orientations.get(f'{file.parent.name}/{file.stem}', 1))
    return make_config(roads, img_suffix='.jpg')


@pytest.mark.parametrize('orientation', [2, 3, 6, 8])
def test_an_orientation_that_labels_do_not_follow(roads: Path, orientation: int) -> None:
    cfg = as_jpeg(roads, {'train/3': orientation})
    finding = find(cfg)['orientation']
    assert finding.severity is Severity.ERROR
    assert finding.files == [str(roads / 'images/train/3.jpg')]
    for part in (f'{orientation} (1)', 'color_ignore_orientation', 'imdecode_backend'):
        assert part in finding.message
    with pytest.raises(UsageError, match=r'train: 1 image with an EXIF .*train/3\.jpg'):
        check_quickly(cfg, ('train', 'val'))
    # The remedy
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        load = {**LOAD[0], 'color_type': 'color_ignore_orientation'}
        loader.dataset.pipeline = [load, LOAD[1]]
    assert find(cfg) == {}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    with Image.open(roads / 'images/train/3.jpg') as image:
        stored = np.asarray(image)[..., ::-1].astype(int)
    assert np.abs(dataset[3]['img'].astype(int) - stored).max() <= 2


def test_labels_that_were_drawn_on_the_turned_image(roads: Path) -> None:
    cfg = as_jpeg(roads, {'train/3': 6, 'train/1': 3})
    write_label(roads / 'labels/train/3.png', np.zeros((10, 8), np.uint8))
    # 3 tells how 1 was drawn, which its size does not.
    assert find(cfg) == {}
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert dataset[3]['img'].shape[:2] == dataset[3]['gt_seg_map'].shape == (10, 8)


@pytest.mark.parametrize('size', [(4, 5), (16, 20)])
def test_a_label_of_another_size_outside_the_sample(roads: Path, size: tuple[int, int]) -> None:
    make_more(roads, 70)
    write_label(roads / 'labels/train/031.png', np.zeros(size, np.uint8))
    with pytest.raises(UsageError, match=r'1 label of another size .*031\.png') as error:
        check_quickly(make_config(roads), ('train',))
    assert f'{size[1]}×{size[0]} for an image of 10×8' in str(error.value)


def test_damaged_files_outside_the_sample(roads: Path) -> None:
    make_more(roads, 70)
    (roads / 'images/train/031.png').write_bytes(b'')
    cut = roads / 'labels/train/042.png'
    cut.write_bytes(cut.read_bytes()[:-25])
    with pytest.raises(UsageError) as error:
        check_quickly(make_config(roads), ('train',))
    first = f'image file could not be read, the first: empty file ({roads}/images/'
    assert first in str(error.value)
    assert 'label file could not be read, the first: image file is trunc' in str(error.value)
    assert str(cut) in str(error.value)


def test_images_that_no_pipeline_takes(roads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cv2.imwrite(str(roads / 'images/train/2.png'), np.zeros((1, 1, 3), np.uint8))
    write_label(roads / 'labels/train/2.png', np.zeros((1, 1), np.uint8))
    found = find(make_config(roads))
    assert found['too-small-label'].files == [str(roads / 'labels/train/2.png')]
    # Pillow refuses twice as many pixels; OpenCV, which reads the images, does not.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 30)
    found = find(make_config(roads), 'train')
    assert len(found['too-large-label'].files) == 4
    assert (
        'more pixels than pillow decodes (60), the first 10×8' in found['too-large-label'].message
    )
    assert 'too-large-image' not in found
    assert 'unreadable-image' not in found


def test_images_that_are_left_unused(roads: Path) -> None:
    for index in (1, 3):
        (roads / f'images/train/{index}.png').rename(roads / f'images/train/{index}.PNG')
    (roads / 'images/train/._0.PNG').touch()
    (roads / 'images/train/0.webp').touch()  # an image that is used in another format
    finding = find(make_config(roads))['unused-images']
    assert finding.files == [str(roads / f'images/train/{index}.PNG') for index in (1, 3)]
    assert 'beside 3 of suffix .png: 2 .PNG' in finding.message
    assert any('2 images in' in text for text in check_quickly(make_config(roads), ('train',)))
    # A list names what is to be used, and may name it wrongly.
    (roads / 'list.txt').write_text('0\n1\n')
    cfg = make_config(roads)
    cfg.train_dataloader.dataset.ann_file = str(roads / 'list.txt')
    found = find(cfg)
    assert 'unused-images' not in found
    assert 'there is 1.PNG: is img_suffix right?' in found['missing-image'].message


def test_labels_beside_and_below_the_images_are_no_unused_images(roads: Path) -> None:
    for file in sorted(roads.glob('images/*/*.png')):
        with Image.open(file) as image:
            image.save(file.with_suffix('.jpg'))
        file.unlink()
        label = roads / 'labels' / file.parent.name / file.name
        label.rename(file.with_name(f'{file.stem}_ids.png'))
    cfg = make_config(
        roads,
        img_suffix='.jpg',
        seg_map_suffix='_ids.png',
        data_prefix={'img_path': 'images', 'seg_map_path': 'images'},
    )
    result = check_all(cfg, 1)
    assert result.total['train'] == 7
    assert result.findings == []


def test_hidden_files_folders_and_links(roads: Path) -> None:
    (roads / 'labels/train/._0.png').touch()
    (roads / 'labels/train/folder.png').mkdir()
    (roads / 'images/train/folder.png').mkdir()
    (roads / 'elsewhere').mkdir()
    write_label(roads / 'elsewhere/9.png', np.zeros((8, 10), np.uint8))
    (roads / 'labels/train/linked').symlink_to(roads / 'elsewhere')
    assert find(make_config(roads))['extra-labels'].files == [
        str(roads / 'labels/train/linked/9.png')
    ]


def test_a_name_that_is_not_utf_8(roads: Path) -> None:
    name = os.fsdecode(b'caf\xe9.png')
    shutil.copy(roads / 'images/train/0.png', roads / 'images/train' / name)
    (roads / 'labels/train' / name).write_bytes(b'')
    result = check_all(make_config(roads), 1)
    assert [item.kind for item in result.findings] == ['unreadable-label']
    assert json.loads(json.dumps(to_json(result)))['findings'][0]['files'][0].endswith('\udce9.png')


def test_a_batch_of_unequal_images(roads: Path) -> None:
    cv2.imwrite(str(roads / 'images/val/1.png'), np.zeros((8, 12, 3), np.uint8))
    write_label(roads / 'labels/val/1.png', np.zeros((8, 12), np.uint8))
    cfg = make_config(roads)
    pack = {'type': 'PackSegInputs'}
    cfg.val_dataloader.dataset.pipeline = [*LOAD, pack]
    assert 'unequal-batch' not in find(cfg)
    cfg.val_dataloader.batch_size = 2
    finding = find(cfg)['unequal-batch']
    assert '10×8 and 12×8' in finding.message
    assert '--cfg-options val_dataloader.batch_size=1' in finding.message
    with pytest.raises(UsageError, match='batch_size 2, and images that differ in size'):
        check_quickly(cfg, ('train', 'val'))
    # What counts is the size behind the pipeline.
    resize = {'type': 'Resize', 'scale': (12, 8), 'keep_ratio': False}
    cfg.val_dataloader.dataset.pipeline = [LOAD[0], resize, LOAD[1], pack]
    assert 'unequal-batch' not in find(cfg)
