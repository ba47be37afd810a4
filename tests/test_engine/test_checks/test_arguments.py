"""Mistyped arguments that no constructor rejects are named; no sound config is suspected."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmseg
import pytest
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from ddf_seg.engine.checks.arguments import check_swallowed_arguments
from ddf_seg.engine.config_file import load_config
from ddf_seg.errors import UsageError

ZOO = Path(mmseg.__file__).parent / '.mim' / 'configs'


def test_what_no_constructor_rejects() -> None:
    metric = {'type': 'IoUMetric', 'iou_metric': ['mDice']}
    with pytest.raises(UsageError, match=r"val_evaluator\.iou_metric: .*'iou_metrics'"):
        check_swallowed_arguments(Config({'val_evaluator': metric}))
    hook = {'type': CheckpointHook, 'max_keep_ckpt': 1}
    with pytest.raises(UsageError, match=r"checkpoint\.max_keep_ckpt: .*'max_keep_ckpts'"):
        check_swallowed_arguments(Config({'default_hooks': {'checkpoint': hook}}))
    check_swallowed_arguments(Config({'val_evaluator': {'type': 'IoUMetric', 'other': 1}}))


def test_nothing_in_mmsegs_zoo_is_taken_for_a_typo() -> None:
    # Every fifth of the methods that need neither mmdet nor mmpretrain
    others = {'_base_', 'beit', 'convnext', 'mae', 'mask2former', 'maskformer', 'poolformer'}
    folders = sorted(folder for folder in ZOO.iterdir() if folder.name not in others)
    files = [file for folder in folders for file in sorted(folder.glob('*.py'))[:1]]
    assert len(files) > 30
    for file in files[::5]:
        check_swallowed_arguments(load_config(str(file)))
