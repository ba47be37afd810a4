"""Whether the images of a batch have one size, and their labels only ids that the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from ..explanations.dataset_faults import explain_filled_ids, explain_foreign_ids
from ..lookup.datasets import leaves
from ..lookup.models import label_range, padding_of
from .dataset.scan import scan
from .dataset.splits import read_part


def check_batch(split: str, model: nn.Module, dataset: Any, batch: Any) -> None:
    """Makes sure that a model can take a batch.

    Args:
        split: 'train', 'val' or 'test'.
        model: a segmentor.
        dataset: what the batch comes from.
        batch: as the dataloader gives it.

    Raises:
        UsageError: images differ in size, or a label has an id that is no class; the message names
            the files.
    """
    if isinstance(batch, dict):
        if split != 'train':
            _check_shapes(batch, split)
        elif (padding := padding_of(model)) is not None and padding.size is not None:
            # How another data preprocessor makes a batch is its own matter.
            _check_shapes(batch, split, padding.size)
        _check_ids(model, dataset, batch)


def _check_shapes(batch: dict[str, Any], split: str, least: Sequence[int] = (0, 0)) -> None:
    """Makes sure that the images of a batch have one size, or are padded to one.

    Args:
        batch: as the dataloader gives it.
        split: of which dataloader.
        least: height and width that smaller images are padded to.
    """
    inputs = batch.get('inputs')
    if not isinstance(inputs, list) or not all(isinstance(item, Tensor) for item in inputs):
        return
    sizes = [
        tuple(max(pair) for pair in zip(item.shape[-2:], least[-2:], strict=True))
        for item in inputs
    ]
    other = next((index for index, size in enumerate(sizes) if size != sizes[0]), None)
    if other is None:
        return
    samples = batch['data_samples']
    found = ' and '.join(
        f'{sizes[index][1]}×{sizes[index][0]} ({samples[index].get("img_path")})'
        for index in (0, other)
    )
    remedy = (
        f'mmseg does not pad them: --cfg-options {split}_dataloader.batch_size=1'
        if split != 'train'
        else 'let the pipeline crop them to one size (RandomCrop)'
    )
    raise UsageError(
        f'{split}_dataloader: images of a batch differ in size after the pipeline, {found}: '
        f'{remedy}'
    )


def _check_ids(model: nn.Module, dataset: Any, batch: dict[str, Any]) -> None:
    """Makes sure that labels have no ids but the classes and the ignored one."""
    num_classes, ignore_index = label_range(model)
    if num_classes is None:
        return
    for sample in _flatten(batch.get('data_samples')):
        if 'gt_sem_seg' not in sample:
            continue
        label = sample.gt_sem_seg.data
        ids = foreign_ids(label, num_classes, ignore_index)
        if not ids:
            continue
        file = sample.get('seg_map_path', '(a label without seg_map_path)')
        held = _ids_in_file(dataset, file)
        if held and not held.keys() & set(ids):
            raise UsageError(explain_filled_ids(file, ids, num_classes, ignore_index))
        raise UsageError(
            explain_foreign_ids(
                file,
                [held.get(index, index) for index in ids],
                num_classes,
                ignore_index,
                type(dataset).__name__,
                seen=held.values() or _ids(label),
            )
        )


def foreign_ids(label: Tensor, num_classes: int, ignore_index: int) -> list[int]:
    """The ids in a label that are neither a class nor ignored, in ascending order."""
    if label.numel() == 0:
        return []
    low, high = (int(bound) for bound in torch.aminmax(label))
    if low >= 0 and high < num_classes:
        return []
    return [
        index for index in _ids(label) if not 0 <= index < num_classes and index != ignore_index
    ]


def _ids(label: Tensor) -> list[int]:
    """The ids in a label that is not empty, in ascending order."""
    low, high = (int(bound) for bound in torch.aminmax(label))
    # Counting is several times faster than sorting or masking, where the ids are few.
    countable = low >= 0 and high < 2**16
    ids = torch.bincount(label.flatten()).nonzero() if countable else torch.unique(label)
    return [int(index) for index in ids.flatten().tolist()]


def _ids_in_file(dataset: Any, file: str) -> dict[int, int]:
    """The ids in a label file, by what its dataset makes of them; none if it cannot be read."""
    for leaf in leaves(dataset):
        if not hasattr(leaf, 'get_data_info'):
            continue
        part = read_part(leaf)
        for pair in part.pairs:
            if pair.label == file:
                return {part.class_of(index): index for index in scan(pair).pixels}
    return {}


def _flatten(samples: Any) -> Sequence[Any]:
    """Test-time augmentation packs the views of an image in a list of their own."""
    if samples is None:
        return []
    return [view for item in samples for view in (item if isinstance(item, list) else [item])]
