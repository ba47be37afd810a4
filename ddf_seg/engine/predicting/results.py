"""What prediction writes, and how it tells its results from other files."""

from __future__ import annotations

import csv
import os
from io import StringIO
from pathlib import Path

import numpy as np

from ...annotations import write_png
from ...files import write_whole
from ..images import VIDEOS
from .classes import Classes

# A table tells the folders of results from others of these names.
FOLDERS = ('ids', 'overlays')
CLASS_TABLE = 'classes.csv'
_COLUMNS = ('id', 'name', 'red', 'green', 'blue')


def is_video(file: Path) -> bool:
    """Whether a file is taken for a video: by its suffix."""
    return file.suffix.lower() in VIDEOS


def result_paths(file: Path, name: Path) -> list[Path]:
    """The paths that the results of an input take, below ids/ or below overlays/."""
    if is_video(file):
        return [name, *(name.with_name(f'{name.name}.{end}') for end in ('mp4', 'mkv'))]
    return [name.with_name(f'{name.name}.png')]


def write_results(out_dir: Path, name: Path, ids: np.ndarray, overlay: np.ndarray) -> None:
    """Writes what became of an image.

    Args:
        out_dir: for ids/ and overlays/.
        name: of the results, below these.
        ids: class ids, (H, W).
        overlay: the picture, (H, W, 3), BGR.
    """
    for folder, image in zip(FOLDERS, (ids, overlay), strict=True):
        write_image(out_dir / folder / name.with_name(f'{name.name}.png'), image)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes a PNG, and makes its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)


def write_classes(out_dir: Path, classes: Classes) -> None:
    """Writes what the ids and colours mean, as CSV."""
    table = StringIO(newline='')
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    rows = zip(classes.names, classes.palette.tolist(), strict=True)
    writer.writerows([index, name, *colour] for index, (name, colour) in enumerate(rows))
    out_dir.mkdir(parents=True, exist_ok=True)
    write_whole(out_dir / CLASS_TABLE, table.getvalue().encode())


def is_result(folder: Path) -> bool:
    """Whether a folder holds what prediction or the visualisation of filters wrote."""
    ids_or_overlays = folder.name in FOLDERS and is_class_table(folder.parent / CLASS_TABLE)
    return ids_or_overlays or holds_filter_pictures(folder)


def is_class_table(path: Path) -> bool:
    """Whether prediction wrote a file, and with it the folders beside it."""
    try:
        with open(path, 'rb') as table:
            return table.readline().strip() == ','.join(_COLUMNS).encode()
    except OSError:
        return False


def holds_filter_pictures(folder: Path) -> bool:
    """Whether a folder is one that the visualisation of filters made for an image."""
    return all(os.path.isfile(folder / f'overview.{suffix}') for suffix in ('png', 'pdf'))
