"""Checks what a config needs, and builds the runner of a training or a test."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import RUNNERS
from mmseg.visualization import SegLocalVisualizer

from ..checks.arguments import check_swallowed_arguments
from ..checks.dataset import check_class_weights, check_dataset_folders, check_quickly
from ..checks.options import check_values
from ..checks.output_folder import check_folder, lock
from ..hooks import CheckpointFitHook, LabelCheckHook, RandomStateHook, SummaryHook
from ..weights.pretrained import check_pretrained, check_weights
from ..weights.resuming import Found, find_checkpoint_of
from .console import ToolRunner
from .scoring import TestRequest, prepare_test


def build_runner(
    name: str, options: dict[str, Any] | None, cfg: Config, request: TestRequest | None = None
) -> Runner:
    """Checks what a config needs and builds its runner.

    Args:
        name: 'train' or 'test'.
        options: what `--cfg-options` changed in the config.
        cfg: the config.
        request: what a test is asked for.

    Raises:
        UsageError: something it names is missing or does not fit.
    """
    check_values(cfg)
    check_swallowed_arguments(cfg)
    check_folder(cfg.work_dir, '--work-dir')
    visualization = (cfg.get('default_hooks') or {}).get('visualization', {})
    if visualization.get('draw'):
        # mmseg's default draws every fiftieth batch: of a small dataset, none.
        visualization.setdefault('interval', 1)
    build = _build_training if name == 'train' else _build_test
    runner = build(cfg, options or {}, request or TestRequest())
    if isinstance(runner.visualizer, SegLocalVisualizer):
        # Placing the names of the classes takes seconds for a large image.
        runner.visualizer.add_datasample = functools.partial(
            runner.visualizer.add_datasample, with_labels=False
        )
    return runner


def _build_training(cfg: Config, options: dict[str, Any], request: TestRequest) -> Runner:
    splits = ('train', 'val') if cfg.get('val_dataloader') else ('train',)
    check_dataset_folders(cfg, splits)
    check_class_weights(cfg)

    def look_at_data() -> None:
        if cfg.get('dataset_check', True):
            for warning in check_quickly(cfg, splits):
                sys.stderr.write(f'warning: {warning}\n')

    return build_training(cfg, options, [LabelCheckHook()], look_at_data)


def build_training(
    cfg: Config,
    options: dict[str, Any],
    hooks: Sequence[Hook] = (),
    check: Callable[[], object] = lambda: None,
) -> Runner:
    """Builds the runner of a training, of whatever network.

    It has its work dir for itself. Where it resumes, it goes on from the last sound checkpoint of
    its own, with random numbers where they stopped.

    Args:
        cfg: the config, with its work dir.
        options: what `--cfg-options` changed in it; a `load_from` there is resumed from.
        hooks: further ones.
        check: what one process alone is to do first, as soon as the work dir is its own.

    Raises:
        UsageError: the work dir is in use, or there is no checkpoint to go on or start from.
    """
    # One of several processes is enough; when it fails, the launcher ends the others.
    first = is_first_process()
    work_dir_lock = lock(cfg.work_dir) if first else None
    if first:
        check()
    found = Found()
    if cfg.resume and 'load_from' not in options:
        # mmengine would resume from the config's load_from, where the training once started.
        found = find_checkpoint_of(cfg)
        cfg.resume = found.checkpoint is not None
        if found.note and first:
            sys.stderr.write(f'note: {found.note}\n')
    check_pretrained(cfg)
    runner = _build(cfg, [*hooks, RandomStateHook(), SummaryHook()])
    # As long as the runner lives
    runner.work_dir_lock = work_dir_lock
    if found.checkpoint:
        # Not in the config, whose copy in the work dir should start as this training once did.
        runner._load_from = str(found.checkpoint)
        if found.seed is not None and (cfg.get('randomness') or {}).get('seed') is None:
            # Before mmengine does, when the order of the images has been drawn.
            runner.set_randomness(**{**runner._randomness_cfg, 'seed': found.seed})
    return runner


def _build_test(cfg: Config, options: dict[str, Any], request: TestRequest) -> Runner:
    notes = prepare_test(cfg, request)
    check_dataset_folders(cfg, ('test',))
    for option, folder in (('--out', request.out), ('--show-dir', request.show_dir)):
        if folder:
            check_folder(folder, option)
    check_weights(cfg.load_from, 'CHECKPOINT')
    if is_first_process():
        sys.stderr.writelines(f'note: {note}\n' for note in notes)
    # A training may well start from another model's checkpoint.
    summary = SummaryHook(request.out, request.show_dir)
    runner = _build(cfg, [LabelCheckHook(), CheckpointFitHook(), summary])
    # Asked for the iteration, as to name a picture, mmengine would build it, and the images to
    # train on need not be here.
    runner._train_loop = None
    return runner


def _build(cfg: Config, hooks: Sequence[Hook]) -> Runner:
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else ToolRunner.from_cfg(cfg)
    # Not in the config, whose copy in the work dir should work with mmseg's own tools.
    for hook in hooks:
        if not any(type(known) is type(hook) for known in runner.hooks):
            runner.register_hook(hook)
    return runner


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the one that speaks for all."""
    # mmengine sets RANK, but not before it builds a runner; until then each launcher has its own.
    # mpirun inside a job of Slurm passes on a SLURM_PROCID that several of its processes share.
    ranks = map(os.environ.get, ('RANK', 'OMPI_COMM_WORLD_RANK', 'SLURM_PROCID'))
    return next((rank for rank in ranks if rank is not None), '0') == '0'
