"""Runs mmseg's own train.py and test.py with ddf_seg's checks between config and runner."""

from __future__ import annotations

import argparse
import functools
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmseg
import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import RUNNERS
from mmseg.visualization import SegLocalVisualizer

from .building import check_swallowed_arguments, explain_building
from .checkpoints import check_resume
from .config_file import check_options, load_config
from .dataset_check import check_class_weights, check_quickly
from .dataset_files import check_dataset_folders
from .errors import UsageError
from .explanations import explain_empty_dataset
from .hooks import CheckpointFitHook, LabelCheckHook
from .pretrained import check_pretrained, check_weights


def show_usage_errors(main: Callable[[], int]) -> int:
    """Run a tool; its user's mistakes become one message on stderr and exit code 1."""
    try:
        code = main()
        sys.stdout.flush()
        return code
    except UsageError as error:
        sys.stderr.write(f'error: {error}\n')
        return 1
    except BrokenPipeError:
        if not _reader_left():
            raise
        return 1


def _reader_left() -> bool:
    """Whether nobody reads standard output any more, as after `| head`; then, drop what is left."""
    watch = select.poll()
    watch.register(sys.stdout.fileno())
    if not any(event & select.POLLERR for _, event in watch.poll(0)):
        return False
    # Python flushes once more when it exits (https://docs.python.org/3/library/signal.html).
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def run_mmseg_tool(name: str) -> int:
    """Run mmseg's tool of this name ('train' or 'test') on the command line's arguments.

    Its own ``main`` runs; only the config it reads and the runner it builds go through our hands.

    Returns:
        The exit code.
    """
    return show_usage_errors(functools.partial(_run, name))


def _run(name: str) -> int:
    tool = _load_tool(name)
    args = parse(tool.parse_args)
    cfg = read_config(args.config, args.cfg_options)
    build = functools.partial(build_runner, name, args.cfg_options)
    tool.parse_args = lambda: args
    tool.Config = SimpleNamespace(fromfile=lambda _: cfg)
    tool.Runner = SimpleNamespace(from_cfg=build)
    tool.RUNNERS = SimpleNamespace(build=build)
    with explained(cfg):
        tool.main()
    # mmengine leaves it to the interpreter's exit, where threads of gloo that still run abort the
    # process: "terminate called without an active exception".
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    return 0


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


def parse(parse_args: Callable[[], argparse.Namespace]) -> argparse.Namespace:
    """Parse a command line with ``--cfg-options``, whose parser raises bare errors."""
    try:
        return parse_args()
    except (ValueError, AssertionError) as error:
        raise UsageError(f'--cfg-options: expected KEY=VALUE …, got {error}') from error


def build_runner(name: str, options: dict[str, Any] | None, cfg: Config) -> Runner:
    """Check what a config needs and build its runner.

    Args:
        name: 'train' or 'test'.
        options: What ``--cfg-options`` changed in the config.
        cfg: The config.

    Raises:
        UsageError: If something it names is missing or does not fit.
    """
    check_swallowed_arguments(cfg)
    hooks: list[Hook] = [LabelCheckHook()]
    if name == 'train':
        splits = ('train', 'val') if cfg.get('val_dataloader') else ('train',)
        check_dataset_folders(cfg, splits)
        check_class_weights(cfg)
        # One of several processes is enough; when it fails, the launcher ends the others.
        rank = os.environ.get('RANK', os.environ.get('SLURM_PROCID', '0'))
        if cfg.get('dataset_check', True) and rank == '0':
            for warning in check_quickly(cfg, splits):
                sys.stderr.write(f'warning: {warning}\n')
        if cfg.resume and 'load_from' not in (options or {}):
            # mmengine would resume from the config's load_from, where the training once started.
            cfg.resume = check_resume(cfg.work_dir)
            if cfg.resume:
                cfg.load_from = None
        check_pretrained(cfg)
    else:
        check_dataset_folders(cfg, ('test',))
        check_weights(cfg.load_from, 'CHECKPOINT')
        # A training may well start from another model's checkpoint.
        hooks.append(CheckpointFitHook())
    default_hooks = cfg.get('default_hooks') or {}
    if default_hooks.get('visualization', {}).get('draw'):
        # mmseg's default draws every fiftieth batch: of a small dataset, none.
        default_hooks['visualization'].setdefault('interval', 1)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    # Not in the config, whose copy in the work dir should work with mmseg's own tools.
    for hook in hooks:
        runner.register_hook(hook)
    if isinstance(runner.visualizer, SegLocalVisualizer):
        # Placing the names of the classes takes seconds for a large image.
        runner.visualizer.add_datasample = functools.partial(
            runner.visualizer.add_datasample, with_labels=False
        )
    return runner
