"""What stands between a config and a run: hooks, and checks with messages a user can act on."""

from __future__ import annotations

from . import flops, package_weights  # noqa: F401  (register themselves)
from .hooks import CheckpointFitHook, CheckpointHook, LabelCheckHook, RandomStateHook

__all__ = ['CheckpointFitHook', 'CheckpointHook', 'LabelCheckHook', 'RandomStateHook']
