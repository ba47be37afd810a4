"""What an interrupted training goes on from, and that nothing tells it from one that was not."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine.config.config
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from openmmlab_toy import forget_visualizers
from tool_runs import Run

from ddf_seg._compat.writing import WholeFileBackend
from ddf_seg.command_line import near
from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.running.runners import build_runner

BY_ITERATIONS = ['train_cfg.max_iters=6', 'train_cfg.val_interval=2']
BY_EPOCHS = """
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
train_dataloader['sampler'] = dict(_delete_=True, type='DefaultSampler', shuffle=True)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=1))
"""
# Augmentation in the data workers, dropout and an average of the weights in the main process;
# no seed: the run that goes on must find out which one it was.
SHUFFLED = """
_base_ = 'config.py'
model = dict(decode_head=dict(dropout_ratio=0.5))
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(64, 64)), dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'), dict(type='PackSegInputs')]))
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=0.01))
custom_hooks = [dict(type='EMAHook')]
"""


def differences(one: Any, other: Any, path: str = '') -> list[str]:
    """Where two checkpoints differ in a single bit."""
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and torch.equal(one, other)
        return [] if same else [path]
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        return [d for key in one for d in differences(one[key], other[key], f'{path}.{key}')]
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        pairs = zip(one, other, strict=True)
        return [d for i, pair in enumerate(pairs) for d in differences(*pair, f'{path}.{i}')]
    return [] if one == other else [path]


@pytest.mark.parametrize(
    ('by', 'workers'),
    [
        pytest.param('iter', 0, marks=pytest.mark.slow),
        ('iter', 2),
        pytest.param('epoch', 1, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_resumed_training_equals_one_that_was_never_interrupted(
    roads: Path, tmp_path: Path, run: Run, by: str, workers: int
) -> None:
    config = roads / 'shuffled.py'
    config.write_text(SHUFFLED + (BY_EPOCHS if by == 'epoch' else ''))
    options = [
        f'train_dataloader.num_workers={workers}',
        f'train_dataloader.persistent_workers={workers > 0}',
        *(BY_ITERATIONS if by == 'iter' else []),
    ]
    start, between, end = (2, 4, 6) if by == 'iter' else (1, 2, 3)
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    arguments = [config, '--cfg-options', *options, '--work-dir']
    assert run('train', *arguments, whole) == (0, '')
    # As if a kill had come before the checkpoint after this one.
    parts.mkdir()
    shutil.copy(whole / f'{by}_{start}.pth', parts)
    assert run('train', *arguments, parts, '--resume') == (0, '')
    files = [torch.load(path / f'{by}_{end}.pth', weights_only=True) for path in (whole, parts)]
    for key in ('state_dict', 'ema_state_dict', 'optimizer', 'random_state'):
        assert differences(files[0][key], files[1][key]) == []
    assert files[0]['meta']['seed'] == files[1]['meta']['seed']
    # Else the comparison would say little.
    before = torch.load(whole / f'{by}_{between}.pth', weights_only=True)
    assert len(differences(before['state_dict'], files[0]['state_dict'])) > 5
    assert differences(before['random_state'], files[0]['random_state'])


@pytest.mark.parametrize(('given', 'expected'), [(None, 7), (0, 0), (1, 1)])
def test_a_resumed_training_draws_images_by_the_seed_that_it_is_given(
    roads: Path, trained: Path, environment: None, tmp_path: Path, given: int | None, expected: int
) -> None:
    checkpoint = torch.load(trained / 'iter_2.pth', weights_only=True)
    checkpoint['meta']['seed'] = 7
    torch.save(checkpoint, tmp_path / 'iter_2.pth')
    cfg = load_config(str(roads / 'config.py'))
    cfg.merge_from_dict(dict(work_dir=str(tmp_path), resume=True, randomness=dict(seed=given)))
    forget_visualizers()
    runner = build_runner('train', {}, cfg)
    sampler = runner.build_dataloader(runner._train_dataloader, seed=runner.seed).sampler
    assert sampler.seed == expected


@HOOKS.register_module()
class CallingHook(Hook):
    """Calls `call` before an iteration, which is counted from 1."""

    call: Callable[[], object]

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx + 1 == self.iteration:
            CallingHook.call()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Says what a CallingHook calls."""
    return lambda what: monkeypatch.setattr(CallingHook, 'call', what, raising=False)


def write_config(roads: Path, folder: Path, *lines: str) -> Path:
    """The config of the tiny dataset, with some lines more."""
    config = folder / 'config.py'
    config.write_text('\n'.join([(roads / 'config.py').read_text(), *lines]))
    return config


def interrupt(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_training_says_what_was_done_and_how_to_go_on(
    roads: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    work_dir = tmp_path / 'work'
    config = write_config(roads, tmp_path, "custom_hooks = [dict(type='CallingHook', iteration=2)]")
    call(interrupt)
    assert run('train', config, '--work-dir', work_dir)[0] == 130
    assert 'interrupted: 1 of 4 iterations done, no checkpoint was saved yet' in run.err

    # mmengine takes a Ctrl-C that comes while it formats a config, as it does with every
    # checkpoint, for an error in that config.
    config = write_config(roads, tmp_path, "custom_hooks = [dict(type='CallingHook', iteration=4)]")
    call(lambda: monkeypatch.setattr(mmengine.config.config, 'digit_version', interrupt))
    assert run('train', config, '--work-dir', work_dir)[0] == 130
    assert f'interrupted: 3 of 4 iterations done, saved up to {work_dir / "iter_2.pth"}' in run.err
    command = f'{near(sys.executable)} tools/train.py {config} --work-dir {work_dir} --resume'
    assert run.err.endswith(f'Go on from there: {command}\n')
    assert 'Traceback' not in run.err
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_checkpoint_that_cannot_be_written_costs_nothing(
    roads: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, call: Any
) -> None:
    put = WholeFileBackend.put

    def fill_the_disk() -> None:
        def full(self: Any, obj: bytes, filepath: str) -> None:
            raise OSError(errno.ENOSPC, 'No space left on device', filepath)

        monkeypatch.setattr(WholeFileBackend, 'put', full)

    work_dir = tmp_path / 'work'
    config = write_config(
        roads, tmp_path, 'default_hooks["checkpoint"].update(max_keep_ckpts=1)',
        "custom_hooks = [dict(type='CallingHook', iteration=4)]",
    )  # fmt: skip
    call(fill_the_disk)
    code, error = run('train', config, '--work-dir', work_dir)
    assert code == 1
    assert f'a checkpoint cannot be written to {work_dir}: ' in error
    for part in ('No space left on device', 'iter_4.pth', '--resume'):
        assert part in error
    # It would have been the only one.
    assert [file.name for file in work_dir.glob('*.pth*')] == ['iter_2.pth']
    monkeypatch.setattr(WholeFileBackend, 'put', put)
    call(lambda: None)
    assert run('train', config, '--work-dir', work_dir, '--resume') == (0, '')
    assert [file.name for file in work_dir.glob('*.pth*')] == ['iter_4.pth']


def test_a_damaged_best_checkpoint_no_longer_counts(roads: Path, tmp_path: Path, run: Run) -> None:
    config = write_config(
        roads, tmp_path, "default_hooks['checkpoint'].update(save_best='mIoU')",
        "train_cfg['val_interval'] = 2",
    )  # fmt: skip
    before = tmp_path / 'before'
    options = ['--cfg-options', 'train_cfg.max_iters=2']
    assert run('train', config, '--work-dir', before, *options) == (0, '')
    best, last = before / 'best_mIoU_iter_2.pth', before / 'iter_2.pth'
    checkpoint = torch.load(last, weights_only=True)
    # No validation reaches it.
    checkpoint['message_hub']['runtime_info']['best_score'] = 101.0
    torch.save(checkpoint, last)
    moved = before.rename(tmp_path / 'moved')
    for damaged in (False, True):
        work_dir = tmp_path / f'{damaged}'
        shutil.copytree(moved, work_dir)
        if damaged:
            with open(work_dir / best.name, 'r+b') as file:
                file.truncate(1000)
        assert run('train', config, '--work-dir', work_dir, '--resume') == (0, '')
        names = {file.name for file in work_dir.glob('best*')}
        assert names == {'best_mIoU_iter_4.pth' if damaged else 'best_mIoU_iter_2.pth'}
        lost = f'The best checkpoint {work_dir / best.name} (best_score 101.0) cannot be read'
        assert (lost in run.out) is damaged
