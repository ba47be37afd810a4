"""The comparison on depth: the bilateral filter, runs that can be repeated, and the table."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from scipy.stats import t as student
from scripts import ROOT, load_script

from ddf_benchmarks.depth import running
from ddf_benchmarks.depth.methods import Interpolation, JointBilateral
from ddf_benchmarks.depth.running import Run
from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.config_file import read_config
from road_scenes.dataset import prepare, write_scene

tool = load_script('benchmarks/depth_upsampling.py')
CONFIG = ROOT / 'configs/depth_upsampling/ddf_x8_scenes.py'


@pytest.mark.parametrize('factor', [2, 4])
def test_the_joint_bilateral_filter_is_that_of_a_loop(factor: int) -> None:
    torch.manual_seed(0)
    net = JointBilateral(0.7, 0.5, factor=factor)
    image, low = torch.randn(2, 3, 3 * factor, 5 * factor), 50 * torch.rand(2, 1, 3, 5)
    out = net.upsample(image, low)
    first = (factor - 1) // 2
    for b, y, x in (
        (0, 0, 0),
        (0, 5, 3),
        (1, 2, 5 * factor - 1),
        (1, 3, 4),
        (0, 3 * factor - 1, 7),
    ):
        total = weight = 0.0
        for i in range(3):
            for j in range(5):
                if max(abs(i - y // factor), abs(j - x // factor)) > 2:
                    continue
                place = ((y - first) / factor - i) ** 2 + ((x - first) / factor - j) ** 2
                there = image[b, :, i * factor + first, j * factor + first]
                colour = float((image[b, :, y, x] - there).square().sum())
                w = math.exp(-place / (2 * 0.7**2) - colour / (2 * 0.5**2))
                total, weight = total + w * float(low[b, 0, i, j]), weight + w
        assert float(out[b, 0, y, x]) == pytest.approx(total / weight, rel=1e-4)


def test_nearest_repeats_pixels() -> None:
    low = torch.rand(1, 1, 2, 3)
    out = Interpolation('nearest', factor=4).upsample(torch.zeros(1, 3, 8, 12), low)
    assert torch.equal(out, low.repeat_interleave(4, 2).repeat_interleave(4, 3))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('depth')
    prepare(root / 'depth_scenes', {'depth': True})
    for task in (('train', 0), ('train', 1), ('val', 0), ('val', 1)):
        write_scene(task, root / 'depth_scenes', (128, 160), 0, depth=True)
    return root


def test_rows_start_alike_and_repeat(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('DDF_DATA_ROOT', str(scenes))
    # Adam's steps have the size of the rate, also where a gradient is rounding: so small a rate
    # leaves the start to compare.
    options = {'train_cfg.max_iters': 2, 'optim_wrapper.optimizer.lr': 1e-7}
    cfg = read_config(str(CONFIG), options)
    state: dict[str, dict[str, torch.Tensor]] = {}
    drawn: dict[str, float] = {}
    # mmengine seeds numpy's global generator.
    random: Any = np.random
    for key, row, seed in (
        ('alone', 'convolutions alone', 0),
        ('ddf', 'DDF-Up', 0),
        ('again', 'DDF-Up', 0),
        ('other', 'DDF-Up', 1),
    ):
        state[key] = running.train(cfg, Run(row, 4, seed)).state_dict()
        # Crops and mirrors are drawn from this.
        drawn[key] = float(random.random())
    filters = 'upsamples.0.ddf_up.spatial_branch.guide.weight'
    assert not state['alone'][filters].any()
    assert state['ddf'][filters].any()
    for key in ('alone', 'again'):
        for name, value in state['ddf'].items():
            torch.testing.assert_close(state[key][name], value, atol=1e-5, rtol=0)
    assert (state['ddf']['encode.0.weight'] - state['other']['encode.0.weight']).abs().max() > 0.1
    assert drawn['alone'] == drawn['ddf'] == drawn['again'] != drawn['other']


def test_the_tool_runs_what_is_missing_and_shows_it(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv('DDF_DATA_ROOT', str(scenes))
    monkeypatch.setattr(running, 'SPATIAL', (0.5,))
    # The first looks at colours so closely that one coarse pixel alone counts.
    monkeypatch.setattr(running, 'COLOUR', (1e-3, 0.3))

    def call(*arguments: object) -> str:
        words = ['depth', *map(str, arguments), '--results', str(tmp_path)]
        monkeypatch.setattr(sys, 'argv', words)
        assert show_usage_errors(tool.main) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    rows = ['bilinear', 'joint bilateral', 'convolutions alone', 'DDF-Up']
    arguments = ['run', *rows, '--factors', 4, '--seeds', 0, 1, '--iterations', 2]
    call(*arguments)
    files = sorted(tmp_path.iterdir())
    assert [file.stem for file in files] == [
        'bilinear-x4-0', 'convolutions-alone-x4-0', 'convolutions-alone-x4-1', 'ddf-up-x4-0',
        'ddf-up-x4-1', 'joint-bilateral-x4-0',
    ]  # fmt: skip
    before = [file.stat().st_mtime_ns for file in files]
    call(*arguments)
    assert before == [file.stat().st_mtime_ns for file in files]
    runs = {file.stem: json.loads(file.read_text()) for file in files}
    assert runs['joint-bilateral-x4-0']['colour'] == 0.3
    # Two steps from it
    bilinear = runs['bilinear-x4-0']['scores']['rmse']
    assert runs['ddf-up-x4-0']['scores']['rmse'] == pytest.approx(bilinear, rel=0.05)
    fixed = runs['joint-bilateral-x4-0']['scores']['rmse']
    for to, theirs in (
        ('joint bilateral', [fixed, fixed]),
        (
            'convolutions alone',
            [runs[f'convolutions-alone-x4-{i}']['scores']['rmse'] for i in (0, 1)],
        ),
    ):
        ours = [runs[f'ddf-up-x4-{i}']['scores']['rmse'] for i in (0, 1)]
        a, b = (x - y for x, y in zip(ours, theirs, strict=True))
        half = student.ppf(0.975, 1) * abs(a - b) / 2
        shown = call('table', '--to', to).splitlines()[2:]
        lines = {line.split('|')[1].strip(): line.split('|') for line in shown}
        assert list(lines) == ['bilinear', 'joint bilateral', *rows[2:]]
        cells = [cell.strip() for cell in lines['DDF-Up']]
        assert cells[5] == f'{sum(ours) / 2:.1f}'
        low, high = (float(part) for part in cells[6].partition('[')[2].strip(']').split(','))
        assert (low, high) == pytest.approx(((a + b) / 2 - half, (a + b) / 2 + half), abs=0.06)
        assert lines[to][6].strip() == ''
        assert '[' not in lines['bilinear'][6]
    for words, message in (
        (['run', 'DDF-Up', '--factors', 4, '--seeds', 0, '--iterations', 3], 'got one of 2'),
        (['table'], 'expected runs of one number of iterations, got some of 2 and of 9'),
    ):
        monkeypatch.setattr(sys, 'argv', ['depth', *map(str, words), '--results', str(tmp_path)])
        assert show_usage_errors(tool.main) == 1
        assert message in capsys.readouterr().err
        (tmp_path / 'other.json').write_text(
            json.dumps({**runs['ddf-up-x4-0'], 'seed': 7, 'iterations': 9})
        )


def test_an_unknown_row_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, 'argv', ['depth', 'run', 'cubic'])
    assert show_usage_errors(tool.main) == 1
    assert 'ROW: expected some of nearest, bilinear' in capsys.readouterr().err
