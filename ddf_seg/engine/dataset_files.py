"""Looks for the folders and files of the datasets before training or testing starts."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmengine.config import Config

from .config_walk import join, walk
from .errors import UsageError


def check_dataset_folders(cfg: Config, splits: tuple[str, ...]) -> None:
    """Make sure that the folders of the datasets exist and are not empty.

    Args:
        cfg: The config.
        splits: Which dataloaders will be used, of 'train', 'val' and 'test'.

    Raises:
        UsageError: If a folder or a list file is missing, or a folder empty.
    """
    for split in splits:
        loader = f'{split}_dataloader'
        for path, node in walk(cfg.get(loader), loader):
            if not isinstance(node.get('data_prefix'), dict):
                continue
            root = node.get('data_root') or ''
            folders = {join('data_prefix', key): name for key, name in node['data_prefix'].items()}
            for key, name in {**folders, 'ann_file': node.get('ann_file')}.items():
                # Other storage than files, and ann_file '' (list the folder instead).
                if (
                    not isinstance(name, str)
                    or '://' in root + name
                    or not (name or key != 'ann_file')
                ):
                    continue
                found = Path(root, name)
                if not found.exists():
                    raise _missing(cfg, f'{found} does not exist', path, key, root)
                if found.is_dir() and next(found.iterdir(), None) is None:
                    raise _missing(cfg, f'{found} is empty', path, key, root)


def _missing(cfg: Config, what: str, path: str, key: str, root: str) -> UsageError:
    remedies = [
        f'Put the dataset there, or say where it is: --cfg-options {path}.data_root=/path/to/it'
    ]
    variable = 'DDF_DATA_ROOT'
    if variable in cfg.text:
        value = os.environ.get(variable)
        state = f'now {value}' if value else 'now not set'
        remedies.append(f'or set the environment variable {variable} ({state})')
    if Path(root).name == 'demo':
        remedies.append("'make demo' generates the demo's data")
    return UsageError(
        f'dataset not found: {what} ({path}.{key}, below data_root {root!r}). '
        + '; '.join(remedies)
        + '.'
    )


def check_dataset_files(dataset: Any) -> None:
    """Make sure that a dataset is not empty and that all its images and labels exist.

    Args:
        dataset: As mmengine builds it: with ``get_data_info``.

    Raises:
        UsageError: Names the first missing file, and how many are missing.
    """
    if len(dataset) == 0:
        raise UsageError(_explain_empty(dataset))
    if not hasattr(dataset, 'get_data_info'):
        return
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    kinds = {'img_path': 'image', 'seg_map_path': 'label'}
    if not loads_labels(dataset):
        del kinds['seg_map_path']
    for key, what in kinds.items():
        files = [info[key] for info in infos if isinstance(info.get(key), str)]
        missing = [file for file in files if '://' not in file and not os.path.exists(file)]
        if missing:
            converter = (
                '; tools/dataset_converters/cityscapes.py makes them from *_labelIds.png'
                if missing[0].endswith('_labelTrainIds.png')
                else ''
            )
            raise UsageError(
                f'{type(dataset).__name__}: {len(missing)} of {len(files)} {what} files are '
                f'missing, the first is {missing[0]}{converter}'
            )


def loads_labels(dataset: Any) -> bool:
    """Whether a dataset's pipeline reads labels."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    return steps is None or any('LoadAnnotations' in type(step).__name__ for step in steps)


def explain_empty_dataset(error: ValueError) -> UsageError | None:
    """What to show for mmengine's ``need at least one array to concatenate``, if it is that."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == '_serialize_data':
            return UsageError(_explain_empty(frame.f_locals['self']))
    return None


def _explain_empty(dataset: Any) -> str:
    prefix = getattr(dataset, 'data_prefix', {}).get('img_path', 'its folder')
    suffix = getattr(dataset, 'img_suffix', '')
    listed = getattr(dataset, 'ann_file', '')
    where = f' listed in {listed}' if listed else ''
    return f'{type(dataset).__name__} found no image: expected …{suffix} in {prefix}{where}'


def explain_foreign_ids(
    file: str, ids: Iterable[int], num_classes: int, ignore_index: int, dataset: str
) -> str:
    """What to show for a label file with ids that are no class.

    Args:
        file: The label file.
        ids: The foreign ids in it.
        num_classes: Of the model.
        ignore_index: The id that the loss ignores.
        dataset: Name of the dataset's class.
    """
    listed = ', '.join(map(str, ids))
    return (
        f'{file} holds label id {listed}: expected 0 to {num_classes - 1} (the model has '
        f'{num_classes} classes) or {ignore_index} (ignored). Map such ids to {ignore_index} in '
        f'the label files, use the dataset class that these labels belong to (now {dataset}), or '
        'set num_classes of the heads.'
    )
