"""The words for faults of datasets, in one place for the checks and mends that find them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from ..images.headers import read_header


def explain_no_image(dataset: Any) -> str:
    """What to show for a dataset of mmseg's without an image."""
    prefix = getattr(dataset, 'data_prefix', {}).get('img_path', 'its folder')
    suffix = getattr(dataset, 'img_suffix', '')
    listed = getattr(dataset, 'ann_file', '')
    where = f' listed in {listed}' if listed else ''
    return f'{type(dataset).__name__} found no image: expected …{suffix} in {prefix}{where}'


def explain_missing(what: str, missing: list[str], total: int) -> str:
    """What to show for files that are not there.

    Args:
        what: 'image' or 'label'.
        missing: the files.
        total: how many there should be.
    """
    first = missing[0]
    hint = ''
    if first.endswith('_labelTrainIds.png'):
        hint = '; tools/dataset_converters/cityscapes.py makes them from *_labelIds.png'
    elif len(set(Path(first).suffixes[-2:])) == 1 < len(Path(first).suffixes):
        hint = '; the names in a list (ann_file) come without the suffix'
    elif near := _other_suffixes(first):
        hint = f'; there is {near}: is {"img" if what == "image" else "seg_map"}_suffix right?'
    return f'{len(missing)} of {total} {what} files are missing, the first is {first}{hint}'


def _other_suffixes(file: str) -> str:
    """A file of that name with another suffix, or one in another case."""
    folder, name = os.path.split(file)
    stem = os.path.splitext(name)[0].lower()
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ''
    return next((other for other in names if os.path.splitext(other)[0].lower() == stem), '')


def explain_sizes(image: tuple[int, int], label: tuple[int, int]) -> str:
    """What to show for a label of another size than its image, both as (width, height)."""
    return f'{label[0]}×{label[1]} for an image of {image[0]}×{image[1]}'


# What to do about images that are turned when they are read, while their labels are not
ORIENTATION_REMEDY = (
    'If the labels belong to the pixels as they are stored, set color_type='
    "'color_ignore_orientation' in every LoadImageFromFile (cv2 and pillow heed it, but not for "
    "TIFF; imdecode_backend='turbojpeg' never turns). If they belong to the picture as it is "
    'shown, write the images turned (mogrify -auto-orient).'
)


def explain_orientation(image: str | None) -> str:
    """What to add where a label does not fit an image with an EXIF orientation; else nothing."""
    try:
        orientation = read_header(image or '').orientation
    except Exception:  # no image, which other errors are about
        return ''
    if orientation == 1:
        return ''
    return f'. The image has the EXIF orientation {orientation}. {ORIENTATION_REMEDY}'


def explain_foreign_ids(
    file: str,
    ids: Iterable[int],
    num_classes: int,
    ignore_index: int,
    dataset: str,
    *,
    seen: Collection[int] = (),
) -> str:
    """What to show for a label file with ids that are no class.

    Args:
        file: the label file.
        ids: the foreign ids in it.
        num_classes: of the model.
        ignore_index: the id that the loss ignores.
        dataset: name of the dataset's class.
        seen: all ids, in this file or in all.
    """
    listed = ', '.join(map(str, ids))
    classes = set(seen) - {ignore_index}
    shifted = (
        f' Ids from 1 to {num_classes} for {num_classes} classes: shifted by one? Then set '
        'reduce_zero_label=True in the dataset.'
        if classes and min(classes) == 1 and max(classes) == num_classes
        else ''
    )
    return (
        f'{file} holds label id {listed}: expected 0 to {num_classes - 1} (the model has '
        f'{num_classes} classes) or {ignore_index} (ignored).{shifted} Map such ids to '
        f'{ignore_index} in the label files, use the dataset class that these labels belong to '
        f'(now {dataset}), or set num_classes of the heads.'
    )


def explain_filled_ids(file: str, ids: Iterable[int], num_classes: int, ignore_index: int) -> str:
    """What to show for ids in a training label that its file does not hold.

    Args:
        file: the label file.
        ids: the ids.
        num_classes: of the model.
        ignore_index: the id that the loss ignores.
    """
    listed = ', '.join(map(str, ids))
    return (
        f'the label that the pipeline made of {file} holds id {listed}, the file does not: a '
        f'transform pads or fills with it. Expected 0 to {num_classes - 1} (the model has '
        f'{num_classes} classes) or {ignore_index} (ignore_index of the head): set pad_val, '
        f'seg_pad_val or seg_fill_in of the transforms to {ignore_index}'
    )
