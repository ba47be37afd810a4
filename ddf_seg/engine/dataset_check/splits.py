"""The pairs of files that a config's dataloaders read, and what their labels mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ..dataset_files import loads_labels

NAMES = ('train', 'val', 'test')


@dataclass(frozen=True)
class Pair:
    """An image and its label, if it has one."""

    image: str
    label: str | None


@dataclass(frozen=True)
class Part:
    """The files of one dataset; several of them may be joined in a split.

    Args:
        name: Of the dataset's class.
        pairs: What it reads, each pair once.
        label_map: From ids in the files to classes, as far as the dataset maps.
        reduce_zero_label: Whether id 0 is ignored and the others go down by 1.
        dataset: As mmseg built it.
    """

    name: str
    pairs: list[Pair]
    label_map: dict[int, int]
    reduce_zero_label: bool
    dataset: Any

    def class_of(self, index: int) -> int:
        """What an id in a label file becomes."""
        if self.reduce_zero_label:
            index = 255 if index in (0, 255) else index - 1
        return self.label_map.get(index, index)

    @property
    def has_labels(self) -> bool:
        return any(pair.label for pair in self.pairs)

    def extra_labels(self) -> list[str]:
        """The label files without an image."""
        prefix = getattr(self.dataset, 'data_prefix', {})
        images, labels = prefix.get('img_path'), prefix.get('seg_map_path')
        if not images or not labels or not os.path.isdir(labels):
            return []
        suffix = self.dataset.seg_map_suffix
        extra = []
        for folder, _, files in os.walk(labels):
            for path in (os.path.join(folder, file) for file in files if file.endswith(suffix)):
                stem = os.path.relpath(path, labels).removesuffix(suffix)
                if not os.path.exists(os.path.join(images, stem + self.dataset.img_suffix)):
                    extra.append(path)
        return sorted(extra)


@dataclass(frozen=True)
class Split:
    """What one dataloader reads.

    Args:
        name: 'train', 'val' or 'test'.
        classes: Their names.
        num_classes: Of the model, of the dataset where no head says it.
        ignore_index: What the loss ignores.
        parts: The datasets.
        dataset: As mmengine built it.
    """

    name: str
    classes: list[str]
    num_classes: int
    ignore_index: int
    parts: list[Part]
    dataset: Any

    @property
    def images(self) -> set[str]:
        return {pair.image for part in self.parts for pair in part.pairs}


def read_splits(cfg: Config, names: tuple[str, ...] = NAMES) -> list[Split]:
    """The splits of a config; one that repeats another's dataset (test, often) is left out."""
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    head = (cfg.get('model') or {}).get('decode_head') or {}
    head = head[-1] if isinstance(head, (list, tuple)) else head
    splits: list[Split] = []
    described: list[Any] = []
    for name in names:
        loader = cfg.get(f'{name}_dataloader')
        if not loader or loader['dataset'] in described:
            continue
        described.append(loader['dataset'])
        dataset = DATASETS.build(loader['dataset'])
        classes = list(dataset.metainfo.get('classes') or ())
        ignored = head.get('ignore_index')
        splits.append(
            Split(
                name=name,
                classes=classes,
                num_classes=head.get('num_classes') or len(classes),
                ignore_index=255 if ignored is None else ignored,
                parts=[_read_part(leaf) for leaf in _leaves(dataset)],
                dataset=dataset,
            )
        )
    return splits


def _leaves(dataset: Any) -> Iterator[Any]:
    """The datasets within ConcatDataset, RepeatDataset and the like."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for item in inner:
        if item is None:
            yield dataset
        else:
            yield from _leaves(item)


def _read_part(dataset: Any) -> Part:
    labelled = loads_labels(dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    # Other storage than files is not read.
    pairs = [
        Pair(info['img_path'], info.get('seg_map_path') if labelled else None)
        for info in infos
        if '://' not in info['img_path']
    ]
    return Part(
        name=type(dataset).__name__,
        pairs=list(dict.fromkeys(pairs)),
        label_map=dataset.metainfo.get('label_map') or {},
        reduce_zero_label=bool(dataset.metainfo.get('reduce_zero_label')),
        dataset=dataset,
    )
