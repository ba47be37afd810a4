"""Refuses to score a checkpoint of another model."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ..lookup.models import unwrapped
from ..weights.checkpoints import check_fit


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Raises where the loaded checkpoint is of another model, see `check_fit`."""

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        check_fit(unwrapped(runner.model), checkpoint, str(runner._load_from))
