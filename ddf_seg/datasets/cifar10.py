"""CIFAR-10: 60,000 images of 32×32 pixels in ten classes (Krizhevsky, 2009)."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import UsageError, in_a_line
from ..files import files_below

CLASSES = (
    *('airplane', 'automobile', 'bird', 'cat', 'deer'),
    *('dog', 'frog', 'horse', 'ship', 'truck'),
)
SIDE = 32
# The official files of each part, and how many images of a class the part has
BATCHES = {'train': [f'data_batch_{i}' for i in range(1, 6)], 'test': ['test_batch']}
PER_CLASS = {'train': 5000, 'test': 1000}


def read_cifar10(
    source: Path, part: str, per_class: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels, the images of a class after each other.

    Args:
        source: the official folder (cifar-10-batches-py, with data_batch_1 …), a folder with
            train/CLASS/… and test/CLASS/…, or a zip of such a folder.
        part: 'train' or 'test'.
        per_class: so many of each class, the first ones; None: all.

    Returns:
        (N, 3, 32, 32), uint8, RGB, and (N,), int64, in the order of `CLASSES`.

    Raises:
        UsageError: something is missing, too few, or damaged; the message names it.
    """
    wanted = PER_CLASS[part] if per_class is None else per_class
    if (source / BATCHES['test'][0]).is_file():
        images, labels = _official(source, part)
        by_class = [images[labels == i] for i in range(len(CLASSES))]
        for name, found in zip(CLASSES, by_class, strict=True):
            _check_count(f'{source}: {part}', name, len(found), wanted)
        return _joined([found[:wanted] for found in by_class])
    try:
        if source.is_dir():
            return _joined(list(_pictures(source, part, wanted, _listed(source), Path.read_bytes)))
        with zipfile.ZipFile(source) as archive:
            return _joined(list(_pictures(source, part, wanted, archive.namelist(), archive.read)))
    except FileNotFoundError:
        raise UsageError(
            f'{source}: expected CIFAR-10, a zip or folder with train/airplane/… and '
            'test/airplane/…, or the official folder cifar-10-batches-py; there is nothing'
        ) from None
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f'{source}: expected CIFAR-10 as a zip: {in_a_line(error)}') from error


def _joined(by_class: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(by_class), np.repeat(np.arange(len(by_class)), [len(x) for x in by_class])


def _check_count(where: str, name: str, found: int, wanted: int) -> None:
    if found < wanted:
        raise UsageError(f'{where}: expected {wanted} images of the class {name}, got {found}')


def _listed(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in files_below(folder)]


def _pictures(
    source: Path, part: str, wanted: int, names: list[str], read: Callable[[Any], bytes]
) -> Iterator[np.ndarray]:
    for name in CLASSES:
        own = sorted(
            each for each in names if each.startswith(f'{part}/{name}/') and each[-1] != '/'
        )
        _check_count(f'{source}: {part}/{name}', name, len(own), wanted)
        yield np.stack(
            [
                _decoded(f'{source}: {each}', read(source / each if source.is_dir() else each))
                for each in own[:wanted]
            ]
        )


def _decoded(where: str, content: bytes) -> np.ndarray:
    data = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None or image.shape[:2] != (SIDE, SIDE):
        got = 'none' if image is None else '{1}×{0}'.format(*image.shape)
        raise UsageError(f'{where}: expected an image of {SIDE}×{SIDE} pixels, got {got}')
    return image[..., ::-1].transpose(2, 0, 1)


class _Arrays(pickle.Unpickler):
    """Reads arrays alone: a pickle of something else could run any program."""

    def find_class(self, module: str, name: str) -> Any:
        # As NumPy 1, of 2009, wrote them
        known = {
            ('numpy.core.multiarray', '_reconstruct'): np.zeros(0).__reduce__()[0],
            ('numpy', 'ndarray'): np.ndarray,
            ('numpy', 'dtype'): np.dtype,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f'it wants {module}.{name}, which is no array')
        return known[module, name]


def _official(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name in BATCHES[part]:
        try:
            content = (folder / name).read_bytes()
            batch = _Arrays(io.BytesIO(content), encoding='bytes').load()
            data, ids = batch[b'data'], np.array(batch[b'labels'])
            images.append(data.reshape(len(ids), 3, SIDE, SIDE))
            labels.append(ids)
        # What a damaged pickle may raise
        except Exception as error:
            raise UsageError(
                f'{folder / name}: expected a batch of CIFAR-10: {in_a_line(error)}'
            ) from error
    return np.concatenate(images), np.concatenate(labels)
