"""Which ids a model takes in its labels, and which a label has."""

from __future__ import annotations

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn


def label_range(model: nn.Module) -> tuple[int | None, int]:
    """The number of classes of a segmentor and the id its loss ignores.

    Returns:
        None as the number where no head tells it (a model that is no segmentor), and 255 as the
        ignored id where none is set.
    """
    while is_model_wrapper(model) or not hasattr(model, 'decode_head'):
        inner = getattr(model, 'module', None)
        if inner is None:
            return None, 255
        model = inner
    head = model.decode_head
    if isinstance(head, nn.ModuleList):
        head = head[-1]
    ignore_index = getattr(head, 'ignore_index', 255)
    return getattr(head, 'num_classes', None), 255 if ignore_index is None else ignore_index


def foreign_ids(label: Tensor, num_classes: int, ignore_index: int) -> list[int]:
    """The ids in ``label`` that are neither a class nor ignored, in ascending order."""
    if label.numel() == 0:
        return []
    low, high = (int(bound) for bound in torch.aminmax(label))
    if low >= 0 and high < num_classes:
        return []
    return [
        index
        for index in label_ids(label)
        if not 0 <= index < num_classes and index != ignore_index
    ]


def label_ids(label: Tensor) -> list[int]:
    """The ids in ``label``, in ascending order."""
    if label.numel() == 0:
        return []
    low, high = (int(bound) for bound in torch.aminmax(label))
    # Counting is several times faster than sorting or masking, where the ids are few.
    countable = low >= 0 and high < 2**16
    ids = torch.bincount(label.flatten()).nonzero() if countable else torch.unique(label)
    return [int(index) for index in ids.flatten().tolist()]
