"""Folders that cannot be understood: the message names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folder_layouts import coloured, save
from PIL import Image

from ddf_seg.engine.starting import Options, start
from ddf_seg.errors import UsageError
from road_scenes import CLASSES


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        start(Options(root, root / 'ddf_seg', **options))
    assert not (root / 'ddf_seg').exists()
    return str(caught.value)


def test_no_folder_no_pictures_no_masks(tmp_path: Path) -> None:
    assert 'expected a folder' in refusal(tmp_path / 'nowhere')
    assert 'holds no image file' in refusal(tmp_path)
    save(tmp_path / 'images/1.png', np.zeros((8, 8, 3), np.uint8))
    assert 'found 1 picture and no masks' in refusal(tmp_path)
    assert '--masks: labels is no folder' in refusal(tmp_path, masks=Path('labels'))


@pytest.mark.parametrize('name', ['a\\b', 'a"""b', 'a\nb'])
def test_paths_that_a_config_cannot_name(plain: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r'^--out-dir: expected a path without '):
        start(Options(plain, plain / name))
    root = plain.rename(plain.with_name(name))
    assert refusal(root).startswith('FOLDER: expected a path without ')
    assert sorted(path.name for path in root.iterdir()) == ['images', 'masks']


def test_files_that_do_not_pair(plain: Path) -> None:
    (plain / 'masks/2.png').unlink()
    message = refusal(plain)
    assert '1 picture without a mask: ' in message
    assert 'images/2.jpg' in message
    (plain / 'images/3.jpg').unlink()
    assert 'masks/3.png' in refusal(plain)


def test_skip_unpaired_leaves_pictures_out(plain: Path) -> None:
    (plain / 'masks/2.png').unlink()
    done = start(Options(plain, plain / 'out', skip_unpaired=True))
    assert done.left_out == 1
    assert sum(map(len, done.splits.values())) == 5


def test_several_masks_of_a_picture(plain: Path) -> None:
    save(plain / 'masks/1_labelIds.png', np.zeros((96, 128), np.uint8))
    message = refusal(plain)
    assert '2 files belong to 1' in message
    assert '--mask-suffix' in message


def test_sizes_that_differ(plain: Path) -> None:
    save(plain / 'masks/1.png', np.zeros((48, 128), np.uint8))
    assert '128×48, its picture 128×96' in refusal(plain)
    for number in range(6):
        save(plain / f'masks/{number}.png', np.zeros((48, 128), np.uint8))
    message = refusal(plain)
    assert message.startswith('6 masks of another size than the picture:\n')
    assert message.count('128×48, its picture 128×96') == 5
    assert '\n  … and 1 more\n' in message


def test_pictures_that_cannot_be_read(plain: Path) -> None:
    for number in range(6):
        (plain / f'images/{number}.jpg').write_text('no image')
    message = refusal(plain)
    assert message.startswith('6 pictures could not be read:\n')
    assert message.count('.jpg: UnidentifiedImageError') == 5
    assert message.endswith('\n  … and 1 more')


@pytest.mark.parametrize(
    ('name', 'image', 'said'),
    [
        ('1.png', Image.fromarray(np.full((96, 128), 700, np.uint16)), 'ids from 700 to 700'),
        ('1.png', Image.new('RGBA', (128, 96), (1, 2, 3, 4)), 'transparent pixels'),
        ('1.png', Image.new('F', (128, 96)), 'mode F'),
        ('1.jpg', Image.new('L', (128, 96)), 'is a JPEG'),
    ],
)
def test_files_that_are_no_masks(plain: Path, name: str, image: Image.Image, said: str) -> None:
    (plain / 'masks/1.png').unlink()
    image.save(plain / 'masks' / name, format='TIFF' if image.mode == 'F' else None)
    message = refusal(plain)
    assert said in message
    assert f'masks/{name}' in message


def test_a_damaged_mask(plain: Path) -> None:
    file = plain / 'masks/1.png'
    file.write_bytes(file.read_bytes()[:200])
    assert f'{file}: cannot be read' in refusal(plain)


def test_colours_of_a_photo(plain: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    save(plain / 'masks/1.png', noise)
    assert 'more than 512 colours' in refusal(plain)


def test_ids_beside_colours(plain: Path) -> None:
    save(plain / 'masks/1.png', coloured(np.arange(96 * 128, dtype=np.uint8).reshape(96, 128) % 5))
    message = refusal(plain)
    assert 'ids in 5 masks' in message
    assert 'colours in 1 (' in message


def test_classes_that_do_not_fit(plain: Path) -> None:
    message = refusal(plain, classes=['road', 'sidewalk'])
    assert 'the masks hold 17 ids that --classes does not name' in message
    assert 'twice' in refusal(plain, classes=['road', 'road'])
    assert "'sidewalk'" in refusal(plain, classes=CLASSES, ignore=['sidewlk'])
    assert 'cannot be read' in refusal(plain, classes=['no.csv'])


def test_names_without_colours_for_colours(
    tmp_path: Path, scenes: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for number, (image, ids) in enumerate(scenes):
        save(tmp_path / f'images/{number}.png', image)
        save(tmp_path / f'masks/{number}.png', coloured(ids))
    message = refusal(tmp_path, classes=['road', 'car'])
    assert 'road has none' in message
    assert '128 64 128 ' in message


def test_a_single_class(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / f'images/{number}.png', np.zeros((8, 8, 3), np.uint8))
        save(tmp_path / f'masks/{number}.png', np.zeros((8, 8), np.uint8))
    assert 'expected 2 to 255 classes, got 1' in refusal(tmp_path)
