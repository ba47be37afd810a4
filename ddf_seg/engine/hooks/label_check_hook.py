"""Finds label ids that are no class, before they reach the loss or the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS
from torch import Tensor, nn

from ..dataset_files import check_dataset_files, explain_foreign_ids
from ..errors import UsageError


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Raises on a missing label file, or an id in one outside the classes, and names the file.

    Without it a missing file shows after minutes, from within a data loader's worker; the loss
    fails with ``Target 11 is out of bounds`` (on a GPU with a device-side assertion), and mmseg's
    IoUMetric leaves such pixels out without a word.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        # A loop that this run does not need is still its config.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):
                check_dataset_files(loop.dataloader.dataset)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        self._check(runner, runner.train_dataloader.dataset, data_batch)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        self._check(runner, runner.val_dataloader.dataset, data_batch)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        self._check(runner, runner.test_dataloader.dataset, data_batch)

    @staticmethod
    def _check(runner: Runner, dataset: Any, data_batch: Any) -> None:
        if not isinstance(data_batch, dict):
            return
        num_classes, ignore_index = label_range(runner.model)
        if num_classes is None:
            return
        for sample in _flatten(data_batch.get('data_samples')):
            if 'gt_sem_seg' not in sample:
                continue
            ids = foreign_ids(sample.gt_sem_seg.data, num_classes, ignore_index)
            if not ids:
                continue
            file = sample.get('seg_map_path', '(a label without seg_map_path)')
            raise UsageError(
                explain_foreign_ids(file, ids, num_classes, ignore_index, type(dataset).__name__)
            )


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
    # Counting is several times faster than sorting or masking, where the ids are few.
    countable = low >= 0 and high < 2**16
    ids = torch.bincount(label.flatten()).nonzero() if countable else torch.unique(label)
    return [
        int(index)
        for index in ids.flatten().tolist()
        if not 0 <= index < num_classes and index != ignore_index
    ]


def _flatten(samples: Any) -> Sequence[Any]:
    """Test-time augmentation packs the views of an image in a list of their own."""
    if samples is None:
        return []
    return [view for item in samples for view in (item if isinstance(item, list) else [item])]
