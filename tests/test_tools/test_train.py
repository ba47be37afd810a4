from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch.distributed
from mmengine.config import Config
from processes import Started, free_port
from tool_runs import TOOLS, Run
from torch.distributed.run import parse_args

# Seconds; on a busy machine importing mmseg alone may take a minute.
TIMEOUT = 400


def read_scalars(work_dir: Path) -> list[dict[str, float]]:
    """What all runs in a work dir logged, the oldest first.

    mmengine names a run's folder by the second it starts in; two short runs can share one.
    """
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def read_steps(work_dir: Path) -> list[float]:
    return [entry['step'] for entry in read_scalars(work_dir) if 'loss' in entry]


def test_it_trains_in_mixed_precision(trained: Path) -> None:
    assert (trained / 'last_checkpoint').read_text() == str(trained / 'iter_4.pth')
    assert read_steps(trained) == [1, 2, 3, 4]
    assert any('mIoU' in entry for entry in read_scalars(trained))
    cfg = Config.fromfile(trained / 'config.py')
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    # The copy of the config works with mmseg's own tools.
    assert 'custom_hooks' not in cfg


def test_the_screen_shows_what_a_person_reads(roads: Path, tmp_path: Path, run: Run) -> None:
    options = ['optim_wrapper.paramwise_cfg.norm_decay_mult=0.0', 'model.backbone.frozen_stages=1']
    options += ['optim_wrapper.optimizer.weight_decay=0.1']
    options += ['default_hooks.checkpoint.save_best=mIoU']
    arguments = [roads / 'config.py', '--work-dir', tmp_path, '--cfg-options', *options]
    assert run('train', *arguments) == (0, '')
    lines = run.out.splitlines()
    assert len(lines) < 60
    (log,) = tmp_path.glob('*/*.log')
    everything = log.read_text()
    # What mmengine tells of each parameter, of the config and the machine, is in the file alone.
    for part in ('paramwise_options -- ', 'requires_grad=False', 'System environment', 'Config:\n'):
        assert part in everything
        assert part not in run.out
    (fixed,) = [line for line in lines if 'kept as they are' in line]
    skipped = everything.count('is skipped since its requires_grad=False')
    assert f'; {skipped} are kept as they are, e.g. backbone.conv1.weight' in fixed
    assert str(log) in fixed
    initialised = everything.partition('Initialisation of the parameters:\n')[2].splitlines()
    counts = [re.match(r'  \w+: (\d+) × ', line) for line in initialised[:10]]
    total = sum(int(count[1]) for count in counts if count)
    assert f'Training {total - skipped} tensors' in fixed
    # The end
    scores = [entry for entry in read_scalars(tmp_path) if 'mIoU' in entry][-1]
    miou = f'{scores["mIoU"]:.2f}'
    assert lines[-5:-2] == [
        '  trained:     4 of 4 iterations',
        f'  validation:  mIoU {miou}, aAcc {scores["aAcc"]:.2f}, mAcc {scores["mAcc"]:.2f}',
        f'  checkpoint:  {tmp_path / "iter_4.pth"}',
    ]
    assert lines[-2:] == [
        f'  best one:    {tmp_path / "best_mIoU_iter_4.pth"} ({miou})',
        f'  log:         {log}',
    ]


def test_a_killed_training_goes_on_from_its_last_checkpoint(
    roads: Path, tmp_path: Path, run: Run
) -> None:
    options = ['--cfg-options', 'train_cfg.max_iters=100000', 'val_dataloader=None']
    options += ['val_cfg=None', 'val_evaluator=None']
    arguments = [roads / 'config.py', '--work-dir', tmp_path, *options]
    code = f"""
        import runpy
        from plain_configs import leave_configs_plain
        leave_configs_plain()
        script = {str(TOOLS / 'train.py')!r}
        sys.argv = [script, *{[*map(str, arguments)]}]
        runpy.run_path(script, run_name='__main__')
    """
    with Started(code) as process:
        deadline = time.monotonic() + TIMEOUT
        while not (tmp_path / 'iter_4.pth').exists():
            assert process.process.is_alive(), process.said()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # SIGKILL, as every process that goes on is ended
    last = Path((tmp_path / 'last_checkpoint').read_text())
    done = int(last.stem.removeprefix('iter_'))
    options[1] = f'train_cfg.max_iters={done + 2}'
    killed = read_steps(tmp_path)
    code, error = run('train', roads / 'config.py', '--work-dir', tmp_path, '--resume', *options)
    assert code == 0, error
    resumed = read_steps(tmp_path)
    assert resumed == [*killed, done + 1, done + 2]

    # Now the kill came while the checkpoint was written, as it can by other tools than these.
    final = tmp_path / f'iter_{done + 2}.pth'
    with open(final, 'r+b') as file:
        file.truncate(final.stat().st_size // 2)
    code, error = run('train', roads / 'config.py', '--work-dir', tmp_path, '--resume', *options)
    assert code == 0, error
    assert f'going on from {tmp_path / f"iter_{done}.pth"}' in run.err
    assert f'{final} (' in run.err
    assert read_steps(tmp_path) == [*resumed, done + 1, done + 2]


def test_resuming_is_not_starting_from_the_configs_checkpoint(
    roads: Path, trained: Path, tmp_path: Path, run: Run
) -> None:
    config = tmp_path / 'config.py'
    text = (roads / 'config.py').read_text().replace('max_iters=4', 'max_iters=2')
    config.write_text(text + f"load_from = '{trained / 'iter_4.pth'}'\n")
    # Nothing to resume yet: it starts from load_from's weights, not at its iteration.
    work_dir = tmp_path / 'work'
    assert run('train', config, '--work-dir', work_dir, '--resume') == (0, '')
    assert read_steps(work_dir) == [1, 2]
    config.write_text(config.read_text().replace('max_iters=2', 'max_iters=3'))
    assert run('train', config, '--work-dir', work_dir, '--resume') == (0, '')
    assert read_steps(work_dir) == [1, 2, 3]


def run_script(environment: dict[str, str], *command: object) -> tuple[int, str, str]:
    """Run a script that starts processes; none outlives a failure."""
    process = subprocess.Popen(
        list(map(str, command)), env=environment, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, error = process.communicate(timeout=TIMEOUT)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return process.returncode, out, error


def test_scripts_start_the_tools_by_torchs_launcher(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """What they ask of it, as its own parser understands that."""
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    environment |= {'PYTHON': str(python), 'PORT': '1234', 'NNODES': '3', 'NODE_RANK': '2'}
    files = {'train': ['a config.py'], 'test': ['a config.py', 'a.pth']}
    for name, positional in files.items():
        script = TOOLS / f'dist_{name}.sh'
        code, out, _ = run_script(environment, script, *positional, 2, '--work-dir', 'a b')
        assert code == 0
        option, module, *words = out.splitlines()
        assert [option, module] == ['-m', 'torch.distributed.run']
        asked = parse_args(words)
        assert (asked.nnodes, asked.node_rank, asked.nproc_per_node) == ('3', 2, '2')
        assert (asked.master_addr, asked.master_port) == ('127.0.0.1', 1234)
        assert asked.training_script == str(TOOLS / f'{name}.py')
        given = [*positional, '--launcher', 'pytorch', '--work-dir', 'a b']
        assert asked.training_script_args == given


def test_a_launchers_process_trains_and_tests(
    roads: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1'}.items():
        monkeypatch.setenv(name, value)
    common = ['--work-dir', tmp_path, '--launcher', 'pytorch']
    checkpoint = tmp_path / 'iter_5.pth'
    try:
        monkeypatch.setenv('MASTER_PORT', free_port())
        assert run('train', roads / 'config.py', *common, '--amp') == (0, '')
        monkeypatch.setenv('MASTER_PORT', free_port())
        code, error = run('test', roads / 'config.py', checkpoint, *common)
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    (log,) = tmp_path.glob('*/*.log')
    assert 'Distributed training: True' in log.read_text()
    assert (tmp_path / 'iter_4.pth').exists()
    assert code == 1
    assert 'iter_5.pth does not exist' in error
    assert 'holds iter_4.pth' in error


# By the launcher itself, which takes half a minute
@pytest.mark.slow
def test_two_processes_train_and_test(
    roads: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment['PORT'] = free_port()
    del environment['LOCAL_RANK']
    common = ['--work-dir', tmp_path]
    script, config = TOOLS / 'dist_train.sh', roads / 'config.py'
    code, _, error = run_script(environment, script, config, 2, *common, '--amp')
    assert code == 0, error[-3000:]
    (log,) = tmp_path.glob('*/*.log')
    assert 'Distributed training: True' in log.read_text()
    assert (tmp_path / 'iter_4.pth').exists()
    # No checkpoint: the process says so, and the launcher fails.
    script, checkpoint = TOOLS / 'dist_test.sh', tmp_path / 'iter_5.pth'
    code, _, error = run_script(environment, script, config, checkpoint, 1, *common)
    assert code != 0
    assert 'iter_5.pth does not exist' in error
    assert 'holds iter_4.pth' in error


def test_scripts_explain_their_usage(environment: dict[str, str]) -> None:
    for script in TOOLS.glob('*.sh'):
        code, _, error = run_script(environment, script)
        assert code == 2
        assert error.startswith(f'usage: {script} ')


def test_slurm_gets_the_arguments(tmp_path: Path, environment: dict[str, str]) -> None:
    srun = tmp_path / 'srun'
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    srun.chmod(0o755)
    environment |= {'PATH': f'{tmp_path}:{environment["PATH"]}', 'SRUN_ARGS': '--mem 4G'}
    command = [TOOLS / 'slurm_train.sh', 'gpu', 'job', 'a config.py', '--cfg-options', 'a=b c']
    code, out, _ = run_script(environment, *command)
    assert code == 0
    lines = out.splitlines()
    assert lines[:2] == ['-p', 'gpu']
    assert {'--job-name=job', '--mem', '4G', '--gres=gpu:4'} <= set(lines)
    assert lines[-5:] == ['a config.py', '--launcher', 'slurm', '--cfg-options', 'a=b c']


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['--cfg-options', 'model.decode_head.num_conv=2'], "did you mean 'num_convs'"),
        (['--cfg-options', 'modle.depth=2'], "did you mean 'model'"),
        (['--cfg-options', 'load_from=no/a.pth'], 'load_from: checkpoint no/a.pth does not exist'),
        (['--cfg-options', 'train_dataloader.dataset.data_root=/no'], '/no/leftImg8bit/train does'),
        (['--cfg-options', 'val_dataloader.dataset.seg_map_suffix=_x.png'], '2 of 2 label files'),
        (['--cfg-options', 'model.pretrained=open-mmlab://resnet5'], "has no model 'resnet5'"),
    ],
)
def test_mistakes_end_with_one_message(
    roads: Path, tmp_path: Path, run: Run, arguments: list[str], expected: str
) -> None:
    code, error = run('train', roads / 'config.py', '--work-dir', tmp_path, *arguments)
    assert code == 1
    assert expected in error
    assert 'Traceback' not in error


@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_label_that_is_no_class_is_named(
    roads: Path, tmp_path: Path, run: Run, split: str
) -> None:
    label = np.full((64, 128), 3, np.uint8)
    label[:, ::8] = 33
    folder = tmp_path / 'labels'
    for source in (roads / 'roads' / 'gtFine' / split / 'town').iterdir():
        (folder / 'town').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / 'town' / source.name), label)
    options = [f'{split}_dataloader.dataset.data_prefix.seg_map_path={folder}']
    code, error = run(
        'train', roads / 'config.py', '--work-dir', tmp_path, '--cfg-options', *options,
        'train_cfg.val_interval=1',
    )  # fmt: skip
    assert code == 1
    assert f'{folder}/town/town_' in error
    for part in ('holds label id 33', '0 to 18', '19 classes', 'CityscapesDataset'):
        assert part in error
