"""Finds label ids that are no class, before they reach the loss or the score."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import HOOKS

from ..checks.batches import check_batch
from ..checks.dataset.settings import check_fills, check_reduce_zero
from ..checks.dataset.sources import check_dataset_files


@HOOKS.register_module()
class LabelCheckHook(Hook):
    """Raises on labels that the model cannot take, and names file or setting.

    Those are missing files, ids outside the classes, padding with an id that is no class, and
    images of a batch that differ in size. Without it a missing file shows after minutes, from
    within a data loader's worker; the loss fails with `Target 11 is out of bounds` (on a GPU with
    a device-side assertion), and mmseg's IoUMetric leaves such pixels out without a word.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        # A loop that this run does not need is still its config.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):
                check_dataset_files(loop.dataloader.dataset)
                check_reduce_zero(loop.dataloader.dataset)
        if isinstance(runner._train_loop, BaseLoop):
            check_fills(runner.model, runner._train_loop.dataloader.dataset)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        check_batch('train', runner.model, runner.train_dataloader.dataset, data_batch)

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        check_batch('val', runner.model, runner.val_dataloader.dataset, data_batch)

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict[str, Any] | None = None
    ) -> None:
        check_batch('test', runner.model, runner.test_dataloader.dataset, data_batch)
