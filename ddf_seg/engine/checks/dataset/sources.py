"""Looks for the folders, lists and files of the datasets before training or testing starts."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmseg.datasets import BaseSegDataset

from ....errors import UsageError
from ...explanations.dataset_faults import explain_missing, explain_no_image
from ...lookup.classes import resolve
from ...lookup.configs import join, walk
from ...lookup.datasets import leaves, loads_labels


class SourceFault(NamedTuple):
    """Why a dataset cannot be built.

    Args:
        kind: A word for programs: missing-folder, unreadable-list.
        message: what is wrong, and what to do.
    """

    kind: str
    message: str


def check_dataset_folders(cfg: Config, splits: Sequence[str]) -> None:
    """Makes sure that the folders and lists of the datasets exist and are not empty.

    Args:
        cfg: the config.
        splits: which dataloaders will be used, of 'train', 'val' and 'test'.

    Raises:
        UsageError: a folder or a list file is missing, or a folder empty, or a list is no UTF-8
            with a name in every line.
    """
    for split in splits:
        for fault in source_faults(cfg, split):
            raise UsageError(fault.message)


def source_faults(cfg: Config, split: str) -> Iterator[SourceFault]:
    """What is wrong with the folders and lists of a split, see `check_dataset_folders`."""
    loader = f'{split}_dataloader'
    for path, node in walk(cfg.get(loader), loader):
        if not isinstance(node.get('data_prefix'), dict):
            continue
        root = node.get('data_root') or ''
        folders = {join('data_prefix', key): name for key, name in node['data_prefix'].items()}
        for key, name in {**folders, 'ann_file': node.get('ann_file')}.items():
            # Other storage than files, and ann_file '' (list the folder instead).
            if not isinstance(name, str) or '://' in root + name or not (name or key != 'ann_file'):
                continue
            found = Path(root, name)
            if not found.exists():
                yield _missing(cfg, f'{found} does not exist', path, key, root)
            elif found.is_dir():
                if next(found.iterdir(), None) is None:
                    yield _missing(cfg, f'{found} is empty', path, key, root)
            elif key == 'ann_file' and _is_plain_list(node):
                fault = _list_fault(found.read_bytes())
                if fault:
                    yield SourceFault('unreadable-list', f'{found} ({path}.{key}): {fault}')


def _missing(cfg: Config, what: str, path: str, key: str, root: str) -> SourceFault:
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
    return SourceFault(
        'missing-folder',
        f'dataset not found: {what} ({path}.{key}, below data_root {root!r}). '
        + '; '.join(remedies)
        + '.',
    )


def _is_plain_list(node: dict[str, Any]) -> bool:
    """Whether a dataset reads its list as mmseg does: a name a line."""
    kind: Any = resolve(node.get('type'))
    if kind is None or not issubclass(kind, BaseSegDataset):
        return False
    return kind.load_data_list.__module__.partition('.')[0] in ('mmseg', 'ddf_seg')


def _list_fault(content: bytes) -> str:
    """Why mmengine would misread a list, or nothing."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return 'is UTF-16, expected UTF-8: iconv -f UTF-16 -t UTF-8 converts it'
    if content.startswith(codecs.BOM_UTF8):
        return (
            'begins with a byte order mark, which would become part of the first name: save it as '
            'UTF-8 without one'
        )
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            name = line.decode()
        except UnicodeDecodeError:
            return f'line {number}, {line!r}, is not UTF-8'
        if not name.strip():
            return f'line {number} is blank, expected the name of an image without its suffix'
    return '' if lines else 'is empty, expected the name of an image in every line'


def check_dataset_files(dataset: Any) -> None:
    """Makes sure that a dataset is not empty and that all its images and labels exist.

    Args:
        dataset: as mmengine builds it: with `get_data_info`.

    Raises:
        UsageError: names the first missing file, and how many are missing.
    """
    if len(dataset) == 0:
        raise UsageError(explain_no_image(dataset))
    for leaf in leaves(dataset):
        if not hasattr(leaf, 'get_data_info'):
            continue
        infos = [leaf.get_data_info(index) for index in range(len(leaf))]
        kinds = {'img_path': 'image', 'seg_map_path': 'label'}
        if not loads_labels(leaf):
            del kinds['seg_map_path']
        for key, what in kinds.items():
            files = [info[key] for info in infos if isinstance(info.get(key), str)]
            missing = [file for file in files if '://' not in file and not os.path.exists(file)]
            if missing:
                raise UsageError(
                    f'{type(leaf).__name__}: {explain_missing(what, missing, len(files))}'
                )
