"""Runs mmseg's own train.py and test.py with ddf_seg's checks between config and runner."""

from __future__ import annotations

import argparse
import errno
import functools
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import mmseg
import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmseg.registry import RUNNERS
from mmseg.visualization import SegLocalVisualizer

from ..command_line import INTERRUPTED, show_usage_errors
from .building import check_swallowed_arguments, explain_building
from .config_file import check_options, check_values, load_config
from .console import ToolRunner
from .dataset_check import check_class_weights, check_quickly
from .dataset_files import check_dataset_folders
from .errors import UsageError
from .explanations import explain_empty_dataset
from .hooks import CheckpointFitHook, LabelCheckHook, RandomStateHook
from .hooks.summary_hook import SummaryHook
from .output_folder import check_folder, lock
from .pretrained import check_pretrained, check_weights
from .resuming import Found, find_checkpoint
from .scoring import TestRequest, prepare_pictures, prepare_test

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def run_mmseg_tool(name: str, args: argparse.Namespace) -> int:
    """Run mmseg's tool of this name ('train' or 'test').

    Its own ``main`` runs; only the config that it reads and the runner that it builds pass through
    here.

    Args:
        name: Of the tool.
        args: Its arguments, as the tools/ of that name parses them.

    Returns:
        The exit code.
    """
    return show_usage_errors(functools.partial(_run, name, args))


def _run(name: str, args: argparse.Namespace) -> int:
    tool = _load_tool(name)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = read_config(args.config, args.cfg_options)
    request = _take_over(args, cfg) if name == 'test' else TestRequest()
    runners: list[Runner] = []

    def build(cfg: Config) -> Runner:
        runners.append(build_runner(name, args.cfg_options, cfg, request))
        return runners[-1]

    tool.parse_args = lambda: args
    tool.Config = SimpleNamespace(fromfile=lambda _: cfg)
    tool.Runner = SimpleNamespace(from_cfg=build)
    tool.RUNNERS = SimpleNamespace(build=build)
    try:
        with explained(cfg), _noting_interrupts() as interrupts:
            tool.main()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or interrupts:
            # Another one ends at once what is left to do.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if _is_first_process():
                sys.stderr.write(f'\n{_interrupted(name, cfg, runners)}\n')
            return INTERRUPTED
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            place = error.filename or cfg.work_dir
            raise UsageError(f'{place} cannot be written: {error.strerror}') from error
        raise
    # mmengine leaves it to the interpreter's exit, where threads of gloo that still run abort the
    # process: "terminate called without an active exception".
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    return 0


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Note that Ctrl-C came, which mmengine in places takes for an error of what it is doing."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, previous)


def _take_over(args: argparse.Namespace, cfg: Config) -> TestRequest:
    """What a test is asked for; mmseg's own tool does not get these arguments."""
    request = TestRequest(args.tta, args.out, args.show, args.show_dir)
    args.tta, args.out = False, None
    if request.show or request.show_dir:
        prepare_pictures(cfg)
    return request


def _is_first_process() -> bool:
    return os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0')) == '0'


def _interrupted(name: str, cfg: Config, runners: list[Runner]) -> str:
    """What was done when Ctrl-C came, and how to go on."""
    runner = runners[-1] if runners else None
    if name == 'test':
        hooks = runner.hooks if runner else []
        tested = sum(hook.tested for hook in hooks if isinstance(hook, SummaryHook))
        loop = runner._test_loop if runner else None
        images = len(loop.dataloader.dataset) if isinstance(loop, BaseLoop) else 'the'
        return f'interrupted: {tested} of {images} images tested, no score; start again'
    if runner is None or not isinstance(runner._train_loop, BaseLoop):
        return 'interrupted before training started'
    done = f'interrupted: {runner.iter} of {runner.max_iters} iterations done'
    # What --resume would find may be of an earlier training here.
    saved = runner.message_hub.get_info('last_ckpt') is not None
    found = _find_checkpoint(cfg) if saved else Found()
    if found.checkpoint is None:
        return f'{done}, no checkpoint was saved yet; start again'
    command = 'the same command and --resume'
    if runner.launcher == 'none':
        given = [argument for argument in sys.argv if argument != '--resume']
        command = shlex.join(['python', *given, '--resume'])
    return f'{done}, saved up to {found.checkpoint}. Go on from there: {command}'


@contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """Turn what mmengine raises for a mistake in a config into a UsageError."""
    try:
        yield
    except (KeyError, TypeError) as error:
        if found := explain_building(error, cfg):
            raise found from error
        raise
    except ValueError as error:
        if empty := explain_empty_dataset(error):
            raise empty from error
        raise


def read_config(path: str, options: dict[str, Any] | None) -> Config:
    """Read a config and check the ``--cfg-options`` to be merged into it; warnings go to stderr."""
    cfg = load_config(path)
    for warning in check_options(cfg, options or {}):
        sys.stderr.write(f'warning: {warning}\n')
    return cfg


def _load_tool(name: str) -> Any:
    path = Path(mmseg.__file__).parent / '.mim' / 'tools' / f'{name}.py'
    spec = spec_from_file_location(f'mmseg_tool_{name}', path)
    if spec is None or spec.loader is None or not path.exists():
        raise UsageError(f'{path} is missing: install mmsegmentation from its wheel')
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def build_runner(
    name: str, options: dict[str, Any] | None, cfg: Config, request: TestRequest | None = None
) -> Runner:
    """Check what a config needs and build its runner.

    Args:
        name: 'train' or 'test'.
        options: What ``--cfg-options`` changed in the config.
        cfg: The config.
        request: What a test is asked for.

    Raises:
        UsageError: If something it names is missing or does not fit.
    """
    check_values(cfg)
    check_swallowed_arguments(cfg)
    check_folder(cfg.work_dir, '--work-dir')
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
    # One of several processes is enough; when it fails, the launcher ends the others.
    first = _is_first_process()
    work_dir_lock = lock(cfg.work_dir) if first else None
    if cfg.get('dataset_check', True) and first:
        for warning in check_quickly(cfg, splits):
            sys.stderr.write(f'warning: {warning}\n')
    found = Found()
    if cfg.resume and 'load_from' not in options:
        # mmengine would resume from the config's load_from, where the training once started.
        found = _find_checkpoint(cfg)
        cfg.resume = found.checkpoint is not None
        if found.note and first:
            sys.stderr.write(f'note: {found.note}\n')
    check_pretrained(cfg)
    runner = _build(cfg, [LabelCheckHook(), RandomStateHook(), SummaryHook()])
    # As long as the runner lives
    runner.work_dir_lock = work_dir_lock
    if found.checkpoint:
        # Not in the config, whose copy in the work dir should start as this training once did.
        runner._load_from = str(found.checkpoint)
        if found.seed is not None and not (cfg.get('randomness') or {}).get('seed'):
            # Before mmengine does, when the order of the images has been drawn.
            runner.set_randomness(**{**runner._randomness_cfg, 'seed': found.seed})
    return runner


def _find_checkpoint(cfg: Config) -> Found:
    return find_checkpoint(cfg.work_dir, (cfg.get('default_hooks') or {}).get('checkpoint'))


def _build_test(cfg: Config, options: dict[str, Any], request: TestRequest) -> Runner:
    notes = prepare_test(cfg, request)
    check_dataset_folders(cfg, ('test',))
    for option, folder in (('--out', request.out), ('--show-dir', request.show_dir)):
        if folder:
            check_folder(folder, option)
    check_weights(cfg.load_from, 'CHECKPOINT')
    if _is_first_process():
        sys.stderr.writelines(f'note: {note}\n' for note in notes)
    visualization = (cfg.get('default_hooks') or {}).get('visualization', {})
    if visualization.get('draw'):
        # mmseg's default draws every fiftieth batch: of a small dataset, none.
        visualization.setdefault('interval', 1)
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
