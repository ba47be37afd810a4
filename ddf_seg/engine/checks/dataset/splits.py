"""The pairs of files that a config's dataloaders read, and what their labels mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ...images.headers import Decoder, decoder_of
from ...lookup.datasets import find_loader, leaves, loads_labels
from ...lookup.models import ignored_id

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
        name: of the dataset's class.
        pairs: what it reads, each pair once.
        label_map: from ids in the files to classes, as far as the dataset maps.
        reduce_zero_label: whether id 0 is ignored and the others go down by 1.
        image_decoder: how images are decoded; None where that is not known.
        label_decoder: how labels are decoded, likewise.
        dataset: as mmseg built it.
    """

    name: str
    pairs: list[Pair]
    label_map: dict[int, int]
    reduce_zero_label: bool
    image_decoder: Decoder | None
    label_decoder: Decoder | None
    dataset: Any

    def class_of(self, index: int) -> int:
        """What an id in a label file becomes."""
        if self.reduce_zero_label:
            index = 255 if index in (0, 255) else index - 1
        return self.label_map.get(index, index)


@dataclass(frozen=True)
class Split:
    """What one dataloader reads.

    Args:
        name: 'train', 'val' or 'test'.
        classes: their names.
        num_classes: of the model, of the dataset where no head says it.
        ignore_index: what the loss ignores.
        batch_size: of the dataloader.
        parts: the datasets.
        dataset: as mmengine built it.
    """

    name: str
    classes: list[str]
    num_classes: int
    ignore_index: int
    batch_size: int
    parts: list[Part]
    dataset: Any

    @property
    def pairs(self) -> list[Pair]:
        return [pair for part in self.parts for pair in part.pairs]

    @property
    def images(self) -> set[str]:
        return {pair.image for pair in self.pairs}


def read_splits(cfg: Config, names: Sequence[str]) -> list[Split]:
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
        splits.append(
            Split(
                name=name,
                classes=classes,
                num_classes=head.get('num_classes') or len(classes),
                ignore_index=ignored_id(head.get('ignore_index')),
                batch_size=loader.get('batch_size') or 1,
                parts=[read_part(leaf) for leaf in leaves(dataset)],
                dataset=dataset,
            )
        )
    return splits


def read_part(dataset: Any) -> Part:
    """The files of a dataset that reads files."""
    labelled = loads_labels(dataset)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    # Other storage than files is not read.
    pairs = [
        Pair(info['img_path'], _local(info.get('seg_map_path')) if labelled else None)
        for info in infos
        if _local(info['img_path'])
    ]
    return Part(
        name=type(dataset).__name__,
        pairs=list(dict.fromkeys(pairs)),
        label_map=dataset.metainfo.get('label_map') or {},
        reduce_zero_label=bool(dataset.metainfo.get('reduce_zero_label')),
        image_decoder=decoder_of(find_loader(dataset, 'LoadImage')),
        label_decoder=decoder_of(find_loader(dataset, 'LoadAnnotations')),
        dataset=dataset,
    )


def _local(path: str | None) -> str | None:
    return None if path is None or '://' in path else path
