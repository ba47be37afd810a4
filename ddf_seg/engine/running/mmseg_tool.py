"""Runs mmseg's own train.py and test.py with ddf_seg's checks between config and runner."""

from __future__ import annotations

import argparse
import errno
import functools
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import mmseg
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import BaseLoop, Runner

from ...command_line import INTERRUPTED, near, running_program, show_usage_errors
from ...errors import UsageError
from ..config_file import load_config, warn_of_options
from ..explanations import explained
from ..hooks import SummaryHook
from ..weights.resuming import Found, find_checkpoint_of
from .runners import build_runner, is_first_process
from .scoring import TestRequest, prepare_pictures

# What a disk may answer, whatever is read from it or written to it
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.EIO),
)


def run_mmseg_tool(name: str, args: argparse.Namespace) -> int:
    """Runs mmseg's tool of this name ('train' or 'test').

    Its own `main` runs; only the config that it reads and the runner that it builds pass
    through here.

    Args:
        name: of the tool.
        args: its arguments, as the tools/ of that name parses them.

    Returns:
        The exit code.
    """
    return show_usage_errors(functools.partial(_run, name, args))


def _run(name: str, args: argparse.Namespace) -> int:
    tool = _load_tool(name)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    # mmseg's tool merges the options itself.
    cfg = load_config(args.config)
    warn_of_options(cfg, args.cfg_options)
    # It names the work dir after the file.
    args.config = args.config.rpartition('::')[2]
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
            if is_first_process():
                sys.stderr.write(f'\n{_interrupted(name, cfg, runners)}\n')
            return INTERRUPTED
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise UsageError(f'{error.filename or cfg.work_dir}: {error.strerror}') from error
        raise
    # mmengine leaves it to the interpreter's exit, where threads of gloo that still run abort the
    # process: "terminate called without an active exception".
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    return 0


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Notes that Ctrl-C came, which mmengine in places takes for an error of what it is doing."""
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
    found = find_checkpoint_of(cfg) if saved else Found()
    if found.checkpoint is None:
        return f'{done}, no checkpoint was saved yet; start again'
    command = 'the same command and --resume'
    if runner.launcher == 'none':
        given = [argument for argument in sys.argv[1:] if argument != '--resume']
        program = running_program()
        if program[0] == 'python':
            program[0] = near(sys.executable)
        command = shlex.join([*program, *given, '--resume'])
    return f'{done}, saved up to {found.checkpoint}. Go on from there: {command}'


def _load_tool(name: str) -> Any:
    path = Path(mmseg.__file__).parent / '.mim' / 'tools' / f'{name}.py'
    spec = spec_from_file_location(f'mmseg_tool_{name}', path)
    if spec is None or spec.loader is None or not path.exists():
        raise UsageError(f'{path} is missing: install mmsegmentation from its wheel')
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool
