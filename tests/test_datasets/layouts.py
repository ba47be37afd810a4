"""Tiny datasets with the folders, names and encodings of the official ones, and random content.

Every function writes one below a data root, and returns the labels that the dataset class should
load, by split, in the order of the images' paths.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

Labels = dict[str, list[np.ndarray]]

SIZE = (48, 80)
_RNG = np.random.default_rng(0)
# What stands in the files, and the class that it is: copied from the datasets' own lists.
CITYSCAPES = {
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12},
    **{26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18, 0: 255, 3: 255, 9: 255, 18: 255, 30: 255},
}
TRAIN_IDS = {index: index for index in (*range(19), 255)}
IDD = {
    'road': 0,
    'parking': 1,
    'drivable fallback': 1,
    'animal': 4,
    'autorickshaw': 8,
    'train': 12,
    'polegroup': 20,
    'tunnel': 23,
    'fallback background': 25,
    'sky': 25,
    'license plate': 255,
    'motorcycle': 6,
}
WILDDASH = {7: 1, 18: 7, 24: 13, 35: 22, 38: 25, 41: 1, 52: 2, 67: 0, 2: 255, 53: 255}
SYNTHIA = {0: 255, 1: 10, 3: 0, 7: 5, 8: 13, 10: 11, 15: 6, 17: 12, 21: 3, 22: 255, 13: 255}
# Colour, and the class among 31, among 11 grouped, among 11 strict
CAMVID = {
    (64, 128, 64): (0, 9, 255),
    (0, 128, 192): (2, 10, 10),
    (128, 0, 192): (10, 3, 255),
    (128, 64, 128): (17, 3, 3),
    (0, 0, 192): (19, 4, 4),
    (64, 128, 192): (22, 8, 255),
    (192, 192, 128): (8, 2, 2),
    (0, 0, 0): (255, 255, 255),
    (64, 192, 0): (30, 1, 255),
}


def _blocks(codes: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Random blocks of codes (H, W), and the classes that they are."""
    picks = _RNG.integers(len(codes), size=(SIZE[0] // 8, SIZE[1] // 8))
    picks = picks.repeat(8, 0).repeat(8, 1)
    return np.array(list(codes))[picks], np.array(list(codes.values()), np.uint8)[picks]


def write_image(path: Path, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), _RNG.integers(0, 256, (*size, 3), dtype=np.uint8))


def write_ids(path: Path, codes: Mapping[int, int], palette: bool = False) -> np.ndarray:
    raw, label = _blocks(codes)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(raw.astype(np.uint8))
    if palette:
        # A grey ramp, shifted: to read colours instead of indices would show.
        image.putpalette([(value + 90) % 256 for value in range(256) for _ in range(3)])
    image.save(path)
    return label


def cityscapes(
    root: Path, codes: Mapping[int, int] = CITYSCAPES, name: str = 'cityscapes'
) -> Labels:
    suffix = 'labelIds' if codes is CITYSCAPES else 'labelTrainIds'
    labels: Labels = {}
    for split, city in (('train', 'aachen'), ('val', 'lindau')):
        labels[split] = []
        for index in range(2):
            stem = f'{split}/{city}/{city}_{index:06d}_000019'
            write_image(root / name / 'leftImg8bit' / f'{stem}_leftImg8bit.png')
            file = root / name / 'gtFine' / f'{stem}_gtFine_{suffix}.png'
            labels[split].append(write_ids(file, codes))
    return labels


def demo(root: Path) -> Labels:
    return cityscapes(root, TRAIN_IDS, 'demo')


def camvid(root: Path) -> Labels:
    codes = {**{index: index for index in range(11)}, 11: 255}
    labels: Labels = {}
    for split, names in (
        ('train', ['0001TP_006690', '0006R0_f00930']),
        ('val', ['0016E5_07959']),
    ):
        labels[split] = []
        for name in names:
            write_image(root / 'camvid' / split / f'{name}.png')
            file = root / 'camvid' / f'{split}annot' / f'{name}.png'
            labels[split].append(write_ids(file, codes))
    return labels


def camvid_trainval(root: Path) -> Labels:
    labels = camvid(root)
    return {'train': [*labels['train'], *labels['val']], 'val': labels['val']}


def camvid_full(root: Path, protocol: int) -> Labels:
    labels: Labels = {'train': [], 'val': []}
    for split, name in (
        ('train', '0001TP_006690'),
        ('train', '0016E5_07959'),
        ('val', '0001TP_008550'),
        ('val', 'Seq05VD_f00000'),
    ):
        write_image(root / 'camvid_full/701_StillsRaw_full' / f'{name}.png')
        picks, _ = _blocks({index: index for index in range(len(CAMVID))})
        file = root / 'camvid_full/LabeledApproved_full' / f'{name}_L.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(list(CAMVID), np.uint8)[picks]).save(file)
        labels[split].append(np.array(list(CAMVID.values()), np.uint8)[picks][..., protocol])
    return labels


def camvid_all(root: Path) -> Labels:
    return camvid_full(root, 0)


def camvid_strict(root: Path) -> Labels:
    return camvid_full(root, 2)


def bdd100k(root: Path) -> Labels:
    labels: Labels = {}
    for split in ('train', 'val'):
        labels[split] = []
        for name in (f'{split[0]}a-0001', f'{split[0]}b-0002'):
            write_image(root / 'bdd100k/images/10k' / split / f'{name}.jpg')
            file = root / 'bdd100k/labels/sem_seg/masks' / split / f'{name}.png'
            labels[split].append(write_ids(file, TRAIN_IDS))
    return labels


def mapillary(root: Path) -> Labels:
    codes = {**{index: index for index in range(65)}, 65: 255}
    labels: Labels = {}
    for split, folder in (('train', 'training'), ('val', 'validation')):
        labels[split] = []
        for name in ('-0AbC_x', 'zZ9'):
            write_image(root / 'mapillary' / folder / 'images' / f'{split}{name}.jpg')
            file = root / 'mapillary' / folder / 'v1.2/labels' / f'{split}{name}.png'
            labels[split].append(write_ids(file, codes, palette=True))
    return labels


def kitti(root: Path) -> Labels:
    labels: Labels = {'train': [], 'val': []}
    for number in range(4):
        name = f'{number:06d}_10.png'
        write_image(root / 'kitti/training/image_2' / name)
        label = write_ids(root / 'kitti/training/semantic' / name, CITYSCAPES)
        labels['val' if number in (1, 3) else 'train'].append(label)
    return labels


def idd(root: Path) -> Labels:
    labels: Labels = {}
    height, width = SIZE
    for split, drive in (('train', '0'), ('val', '119')):
        labels[split] = []
        for name in ('005506', 'frame0029'):
            stem = f'{split}/{drive}/{name}'
            write_image(root / 'IDD_Segmentation/leftImg8bit' / f'{stem}_leftImg8bit.png')
            label = np.full(SIZE, 255, np.uint8)
            objects = []
            for _ in range(12):
                kind = list(IDD)[_RNG.integers(len(IDD))]
                left, right = sorted(_RNG.choice(width, 2, replace=False).tolist())
                top, bottom = sorted(_RNG.choice(height, 2, replace=False).tolist())
                box = [[left, top], [right, top], [right, bottom], [left, bottom]]
                objects.append({'label': kind, 'polygon': box, 'deleted': 0})
                label[top : bottom + 1, left : right + 1] = IDD[kind]
            whole = [[0, 0], [width, 0], [width, height], [0, height]]
            objects.append({'label': 'sky', 'polygon': whole, 'deleted': 1})
            objects.append(
                {'label': 'motorcyclegroup', 'polygon': [[0, 0], [9, 0], [9, 9], [0, 9]]}
            )
            label[:10, :10] = IDD['motorcycle']
            file = root / 'IDD_Segmentation/gtFine' / f'{stem}_gtFine_polygons.json'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(
                json.dumps({'imgHeight': height, 'imgWidth': width, 'objects': objects})
            )
            labels[split].append(label)
    return labels


def acdc(root: Path) -> Labels:
    labels: Labels = {'train': [], 'val': []}
    for condition in ('fog', 'night', 'rain', 'snow'):
        for split in ('train', 'val'):
            stem = f'{condition}/{split}/GOPR0475/GOPR0475_frame_000041'
            write_image(root / 'acdc/rgb_anon' / f'{stem}_rgb_anon.png')
            # Reference images and the test set have no labels.
            for other in (f'{split}_ref', 'test'):
                reference = stem.replace(f'/{split}/', f'/{other}/')
                write_image(root / 'acdc/rgb_anon' / f'{reference}_rgb_anon.png')
            file = root / 'acdc/gt' / f'{stem}_gt_labelTrainIds.png'
            labels[split].append(write_ids(file, TRAIN_IDS))
            write_ids(root / 'acdc/gt' / f'{stem}_gt_labelIds.png', CITYSCAPES)
    labels['test'] = labels['val']
    return labels


def wilddash2(root: Path) -> Labels:
    labels: Labels = {'train': [], 'val': []}
    annotations = []
    for number in range(10):
        name = f'ad000{number}_100000'
        write_image(root / 'wilddash2/images' / f'{name}.jpg')
        picks, label = _blocks(dict(enumerate([*WILDDASH.values(), 255])))
        # Segment 0 is unlabelled; the others have ids beyond one byte.
        ids = np.array([(7 + 70000 * place) % 2**24 for place in range(1, len(WILDDASH) + 1)] + [0])
        segments = ids[picks]
        pixels = np.stack([segments & 255, segments >> 8 & 255, segments >> 16], -1)
        file = root / 'wilddash2/panoptic' / f'{name}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(file)
        infos = [
            {'id': int(index), 'category_id': category}
            for index, category in zip(ids[:-1], WILDDASH, strict=True)
        ]
        annotations.append({'file_name': file.name, 'segments_info': infos})
        labels['val' if number == 9 else 'train'].append(label)
    (root / 'wilddash2/panoptic.json').write_text(json.dumps({'annotations': annotations}))
    return labels


def railsem19(root: Path) -> Labels:
    labels: Labels = {'train': [], 'val': []}
    for number in range(4):
        write_image(root / 'railsem19/jpgs/rs19_val' / f'rs{number:05d}.jpg')
        file = root / 'railsem19/uint8/rs19_val' / f'rs{number:05d}.png'
        labels['train' if number < 2 else 'val'].append(write_ids(file, TRAIN_IDS))
    return labels


def gta5(root: Path) -> Labels:
    labels = cityscapes(root, TRAIN_IDS)
    labels['train'] = []
    for number in (1, 2, 15188, 20801):
        # One is known to be white, the other's label has another size.
        write_image(root / f'gta5/images/{number:05d}.png', (40, 80) if number == 20801 else SIZE)
        label = write_ids(root / f'gta5/labels/{number:05d}.png', CITYSCAPES, palette=True)
        labels['train'] += [label] if number < 3 else []
    return labels


def synthia(root: Path) -> Labels:
    labels = cityscapes(root, TRAIN_IDS)
    labels['train'] = []
    for number in range(2):
        write_image(root / f'RAND_CITYSCAPES/RGB/{number:07d}.png')
        ids, label = _blocks(SYNTHIA)
        instances = _RNG.integers(0, 3000, SIZE)
        channels = np.stack([np.zeros(SIZE), instances, ids], -1).astype(np.uint16)
        file = root / f'RAND_CITYSCAPES/GT/LABELS/{number:07d}.png'
        file.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(file), channels)
        labels['train'].append(label)
    return labels


def nuimages(root: Path) -> Labels:
    from pycocotools import mask

    def encode(box: tuple[slice, slice]) -> dict[str, object]:
        pixels = np.zeros(SIZE, np.uint8, order='F')
        pixels[box] = 1
        runs = mask.encode(pixels)
        return {**runs, 'counts': base64.b64encode(runs['counts']).decode()}

    labels: Labels = {}
    categories = {'c0': 'vehicle.car', 'c1': 'flat.driveable_surface', 'c2': 'animal'}
    for split in ('train', 'val'):
        labels[split] = []
        tables: dict[str, list[dict[str, object]]] = {
            'category': [{'token': token, 'name': name} for token, name in categories.items()],
            **{name: [] for name in ('sample_data', 'surface_ann', 'object_ann')},
        }
        for number in range(2):
            name = f'samples/CAM_FRONT/{split}__{number}.jpg'
            write_image(root / 'nuimages' / name)
            token = f'data{number}'
            for key, file in ((True, name), (False, name.replace('samples', 'sweeps'))):
                tables['sample_data'].append(
                    {
                        'token': token if key else f'sweep{number}',
                        'filename': file,
                        'is_key_frame': key,
                        'height': SIZE[0],
                        'width': SIZE[1],
                    }
                )
            top = int(_RNG.integers(8, 30))
            label = np.full(SIZE, 255, np.uint8)
            # The animal stands before the car: its token comes later.
            for table, item, category, box in (
                ('object_ann', 'o2', 'c2', np.s_[20:40, 30:50]),
                ('object_ann', 'o1', 'c0', np.s_[10:30, 20:40]),
                ('surface_ann', 's1', 'c1', np.s_[top:, :]),
            ):
                tables[table].append(
                    {
                        'token': item,
                        'sample_data_token': token,
                        'category_token': category,
                        'mask': encode(box),
                    }
                )
            for index, box in (
                (23, np.s_[top:]),
                (16, np.s_[10:30, 20:40]),
                (0, np.s_[20:40, 30:50]),
            ):
                label[box] = index
            tables['object_ann'].append(
                {'token': 'o3', 'sample_data_token': token, 'category_token': 'c0', 'mask': None}
            )
            labels[split].append(label)
        folder = root / f'nuimages/v1.0-{split}'
        folder.mkdir(parents=True)
        for table, rows in tables.items():
            (folder / f'{table}.json').write_text(json.dumps(rows))
    return labels


def _test_set(root: Path, images: str, labels: str) -> Labels:
    """Two images and their labels, of patterns with a {} for the name."""
    for name in ('a', 'b'):
        write_image(root / images.format(name))
    return {'test': [write_ids(root / labels.format(name), TRAIN_IDS) for name in ('a', 'b')]}


def dark_zurich(root: Path) -> Labels:
    stem = 'val/night/GOPR0356/GOPR0356_frame_00032{}'
    return _test_set(
        root / 'dark_zurich',
        f'rgb_anon/{stem}_rgb_anon.png',
        f'gt/{stem}_gt_labelTrainIds.png',
    )


def night_driving(root: Path) -> Labels:
    return _test_set(
        root / 'NighttimeDrivingTest',
        'leftImg8bit/test/night/0_frame_000{}_leftImg8bit.png',
        'gtCoarse_daytime_trainvaltest/test/night/0_frame_000{}_gtCoarse_labelTrainIds.png',
    )


def muses(root: Path) -> Labels:
    stem = 'val/fog/night/REC0001_frame_00002{}'
    return _test_set(
        root / 'muses',
        f'frame_camera/{stem}_frame_camera.png',
        f'gt_semantic/{stem}_gt_labelTrainIds.png',
    )


def foggy_cityscapes(root: Path) -> Labels:
    stem = 'val/lindau/lindau_{}_000019'
    for beta in ('0.01', '0.005'):
        name = f'{stem.format("a")}_leftImg8bit_foggy_beta_{beta}.png'
        write_image(root / 'foggy_cityscapes/leftImg8bit_foggy' / name)
    return _test_set(
        root / 'foggy_cityscapes',
        f'leftImg8bit_foggy/{stem}_leftImg8bit_foggy_beta_0.02.png',
        f'gtFine/{stem}_gtFine_labelTrainIds.png',
    )


def foggy_driving(root: Path) -> Labels:
    labels: Labels = {'test': []}
    for split, kind, stem in (
        ('test', 'Fine', 'public/public_20161213_083206'),
        ('test_extra', 'Coarse', 'web/web_a'),
    ):
        write_image(root / 'foggy_driving/leftImg8bit' / split / f'{stem}_leftImg8bit.png')
        file = root / f'foggy_driving/gt{kind}' / split / f'{stem}_gt{kind}_labelIds.png'
        labels['test'].append(write_ids(file, CITYSCAPES))
    return labels
