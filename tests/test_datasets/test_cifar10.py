"""CIFAR-10 from a zip, a folder and the official pickles, and files that are not as they should."""

import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
from PIL import Image

from ddf_seg.datasets.cifar10 import BATCHES, CLASSES, read_cifar10
from ddf_seg.errors import UsageError

EACH = 2


def picture(part: str, label: int, number: int) -> np.ndarray:
    """(32, 32, 3), RGB; of one colour, which JPEG keeps."""
    colour = (20 * label + 30, 100 * number + 40, 200 if part == 'test' else 60)
    return np.full((32, 32, 3), colour, np.uint8)


def write_folder(folder: Path) -> Path:
    for part in BATCHES:
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(EACH):
                image = Image.fromarray(picture(part, label, number))
                image.save(folder / part / name / f'{number:04}.jpg', quality=100, subsampling=0)
    return folder


def write_zip(folder: Path) -> Path:
    write_folder(folder / 'files')
    with zipfile.ZipFile(folder / 'cifar10.zip', 'w') as archive:
        for path in sorted((folder / 'files').rglob('*')):
            archive.write(path, path.relative_to(folder / 'files'))
    return folder / 'cifar10.zip'


def write_official(folder: Path) -> Path:
    """As published: rows of 3072 bytes, red first, and a list of labels, in five and one files."""
    folder.mkdir()
    for part, names in BATCHES.items():
        order = [(number, label) for number in range(EACH) for label in reversed(range(10))]
        for i, name in enumerate(names):
            own = order[i :: len(names)]
            rows = [
                picture(part, label, number).transpose(2, 0, 1).ravel() for number, label in own
            ]
            batch = {b'data': np.stack(rows), b'labels': [label for _, label in own]}
            (folder / name).write_bytes(as_numpy_1(pickle.dumps(batch, protocol=3)))
    return folder


def as_numpy_1(content: bytes) -> bytes:
    """A pickle with the module that NumPy 1 had."""
    return content.replace(b'numpy._core.multiarray', b'numpy.core.multiarray')


WRITERS: dict[str, Any] = dict(folder=write_folder, zip=write_zip, official=write_official)


@pytest.mark.parametrize('kind', list(WRITERS))
@pytest.mark.parametrize('part', list(BATCHES))
def test_images_stand_by_class(kind: str, part: str, tmp_path: Path) -> None:
    images, labels = read_cifar10(WRITERS[kind](tmp_path / 'data'), part, EACH)
    assert images.dtype == np.uint8
    assert labels.tolist() == [label for label in range(10) for _ in range(EACH)]
    order = [(label, number) for label in range(10) for number in range(EACH)]
    expected = np.stack([picture(part, *each).transpose(2, 0, 1) for each in order]).astype(int)
    assert images.shape == expected.shape
    found = images.astype(int)
    if kind == 'official':
        # A class's images stand in the files' order, which is not that of their numbers.
        def by_number(values: np.ndarray) -> np.ndarray:
            return np.sort(values.reshape(10, EACH, -1), axis=1)

        found, expected = by_number(found), by_number(expected)
    assert np.abs(found - expected).max() <= (0 if kind == 'official' else 2)


def test_fewer_are_the_first(tmp_path: Path) -> None:
    images, labels = read_cifar10(write_zip(tmp_path), 'train', 1)
    assert labels.tolist() == list(range(10))
    assert np.abs(images[3, 1].astype(int) - 40).max() <= 2


class Harmful:
    """A pickle of this one would run a program."""

    def __reduce__(self) -> Any:
        return os.system, ('true',)


def damage_pickle(folder: Path) -> str:
    (folder / 'data_batch_3').write_bytes(pickle.dumps(Harmful(), protocol=2))
    return r'data_batch_3: expected a batch of CIFAR-10: .*system, which is no array'


def cut_pickle(folder: Path) -> str:
    path = folder / 'test_batch'
    path.write_bytes(path.read_bytes()[:100])
    return 'test_batch: expected a batch of CIFAR-10'


def lose_pickle(folder: Path) -> str:
    (folder / 'data_batch_5').unlink()
    return 'data_batch_5: expected a batch of CIFAR-10: .*No such file'


def lose_class(folder: Path) -> str:
    for path in (folder / 'test/deer').iterdir():
        path.unlink()
    return f'test/deer: expected {EACH} images of the class deer, got 0'


def cut_image(folder: Path) -> str:
    (folder / 'train/ship/0001.jpg').write_bytes(b'')
    return 'train/ship/0001.jpg: expected an image of 32×32 pixels, got none'


def grow_image(folder: Path) -> str:
    Image.new('RGB', (40, 32)).save(folder / 'train/ship/0001.jpg')
    return 'train/ship/0001.jpg: expected an image of 32×32 pixels, got 40×32'


@pytest.mark.parametrize(
    ('kind', 'break_it'),
    [
        ('official', damage_pickle),
        ('official', cut_pickle),
        ('official', lose_pickle),
        ('folder', lose_class),
        ('folder', cut_image),
        ('folder', grow_image),
    ],
)
def test_what_is_missing_or_damaged_is_named(kind: str, break_it: Any, tmp_path: Path) -> None:
    source = WRITERS[kind](tmp_path / 'data')
    message = break_it(source)
    part = 'test' if 'test' in message else 'train'
    with pytest.raises(UsageError, match=message):
        read_cifar10(source, part, EACH)


def test_no_data_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f'{tmp_path / "none.zip"}: expected CIFAR-10')):
        read_cifar10(tmp_path / 'none.zip', 'train')
    (tmp_path / 'bad.zip').write_bytes(b'no zip')
    with pytest.raises(UsageError, match=r'bad\.zip: expected CIFAR-10 as a zip: '):
        read_cifar10(tmp_path / 'bad.zip', 'train')
    # All images of a part are wanted unless told otherwise.
    with pytest.raises(UsageError, match='expected 5000 images of the class airplane, got 2'):
        read_cifar10(write_zip(tmp_path), 'train')
