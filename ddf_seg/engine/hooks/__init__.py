"""Hooks, registered in mmseg's HOOKS."""

from __future__ import annotations

from .checkpoint_fit_hook import CheckpointFitHook
from .label_check_hook import LabelCheckHook

__all__ = ['CheckpointFitHook', 'LabelCheckHook']
