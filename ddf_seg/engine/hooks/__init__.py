"""What a run does besides: hooks, registered in mmseg's HOOKS but for SummaryHook."""

from __future__ import annotations

from .checkpoint_fit_hook import CheckpointFitHook
from .checkpoint_hook import CheckpointHook
from .label_check_hook import LabelCheckHook
from .random_state_hook import RandomStateHook
from .summary_hook import SummaryHook

__all__ = [
    'CheckpointFitHook',
    'CheckpointHook',
    'LabelCheckHook',
    'RandomStateHook',
    'SummaryHook',
]
