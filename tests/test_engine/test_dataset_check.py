"""Every fault is found, and named; a sound dataset has none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from ddf_seg.engine.dataset_check import (
    Finding,
    Severity,
    check_all,
    check_class_weights,
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
            # Otherwise every dataset collects the garbage of the whole process: 0.1 s.
            'serialize_data': False,
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


def find(cfg: Config, *splits: str) -> dict[str, Finding]:
    """What is found, by its kind; in some splits or in all."""
    findings = check_all(cfg, 1).findings
    if splits:
        findings = [finding for finding in findings if finding.split in splits]
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


def write_label(file: Path, label: np.ndarray) -> None:
    assert cv2.imwrite(str(file), label)


def make_more(roads: Path, count: int) -> None:
    """Copies of image 0, up to the number."""
    for index in range(5, count):
        for kind in ('images', 'labels'):
            shutil.copy(roads / kind / 'train/0.png', roads / kind / f'train/{index:03d}.png')


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
    with pytest.raises(UsageError, match=r'train: 1 images have an EXIF .*train/3\.jpg'):
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
    with pytest.raises(UsageError, match=r'1 labels have another size .*031\.png') as error:
        check_quickly(make_config(roads), ('train',))
    assert f'{size[1]}×{size[0]} for an image of 10×8' in str(error.value)


def test_a_label_of_colours_outside_the_sample(roads: Path) -> None:
    make_more(roads, 70)
    write_label(roads / 'labels/train/031.png', np.zeros((8, 10, 3), np.uint8))
    with pytest.raises(UsageError, match=r'1 labels have several channels .*031\.png'):
        check_quickly(make_config(roads), ('train',))


def test_damaged_files_outside_the_sample(roads: Path) -> None:
    make_more(roads, 70)
    (roads / 'images/train/031.png').write_bytes(b'')
    cut = roads / 'labels/train/042.png'
    cut.write_bytes(cut.read_bytes()[:-25])
    with pytest.raises(UsageError) as error:
        check_quickly(make_config(roads), ('train',))
    assert f'image files cannot be read, the first: empty file ({roads}/images/' in str(error.value)
    assert 'label files cannot be read, the first: image file is trunc' in str(error.value)
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


def test_a_split_without_a_class(roads: Path) -> None:
    for file in (roads / 'labels/train').iterdir():
        write_label(file, np.full((8, 10), 255, np.uint8))
    finding = find(make_config(roads))['no-class']
    assert finding.severity is Severity.ERROR
    assert 'none of the labels has a pixel of a class: 100.0 % of the' in finding.message
    assert '100.0 % of the pixels ignored' in format_report(check_all(make_config(roads), 1))
    with pytest.raises(UsageError, match='none of the labels has a pixel'):
        check_quickly(make_config(roads), ('train',))


def test_masks_of_0_and_255(roads: Path) -> None:
    make_more(roads, 30)
    for file in (roads / 'labels').glob('*/*.png'):
        mask = np.zeros((8, 10), np.uint8)
        mask[:3] = 255
        write_label(file, mask)
    cfg = make_config(roads, metainfo={'classes': ('other', 'road')})
    cfg.model.decode_head.num_classes = 2
    findings = [item for item in check_all(cfg, 1).findings if item.kind == 'single-class']
    assert [(item.split, item.severity) for item in findings] == [
        ('train', Severity.ERROR),
        ('val', Severity.WARNING),
    ]
    for part in ('37.5 % of the pixels are ignored', 'road cannot be learned', 'Write 1 where'):
        assert part in findings[0].message
    # A sample may miss what is rare.
    warnings = check_quickly(cfg, ('train',))
    assert any('24 labels that were read' in text and 'Write 1' in text for text in warnings)


def test_ids_that_are_shifted_by_one(roads: Path) -> None:
    for file in (roads / 'labels').glob('*/*.png'):
        label = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        assert label is not None
        write_label(file, np.where(label == 255, 255, label + 1))
    result = check_all(make_config(roads), 1)
    message = next(item.message for item in result.findings if item.kind == 'foreign-ids')
    assert 'Ids from 1 to 3 for 3 classes: shifted by one?' in message
    assert 'reduce_zero_label=True' in message
    # The remedy
    assert check_all(make_config(roads, reduce_zero_label=True), 1).findings == []
    # Not every foreign id is one too many.
    write_label(
        roads / 'labels/train/0.png', np.array([[0, 3]], np.uint8).repeat(8, 0).repeat(5, 1)
    )
    result = check_all(make_config(roads), 1)
    message = next(item.message for item in result.findings if item.kind == 'foreign-ids')
    assert 'shifted by one' not in message


def test_images_that_are_left_unused(roads: Path) -> None:
    for index in (1, 3):
        (roads / f'images/train/{index}.png').rename(roads / f'images/train/{index}.PNG')
    (roads / 'images/train/._0.PNG').touch()
    (roads / 'images/train/0.webp').touch()  # an image that is used in another format
    finding = find(make_config(roads))['unused-images']
    assert finding.files == [str(roads / f'images/train/{index}.PNG') for index in (1, 3)]
    assert 'beside 3 that end in .png: 2 .PNG' in finding.message
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
