"""Hooks, registered in mmseg's HOOKS."""

from __future__ import annotations

from .checkpoint_fit_hook import CheckpointFitHook
from .checkpoint_hook import CheckpointHook
from .label_check_hook import LabelCheckHook
from .random_state_hook import RandomStateHook

__all__ = ['CheckpointFitHook', 'CheckpointHook', 'LabelCheckHook', 'RandomStateHook']
