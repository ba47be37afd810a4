"""The study of upsampling: its rows differ in what they say, runs go on, the table is right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from openmmlab_toy import forget_visualizers
from scripts import ROOT, load_script

from ddf_benchmarks.upsampling_study import comparison, parts, runs, timing

tool = load_script('benchmarks/study.py')

Study = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Study:
    """Runs the tool in this process; returns exit code, output and error."""

    def study(*arguments: object) -> tuple[int, str, str]:
        forget_visualizers()
        monkeypatch.setattr(sys, 'argv', ['study.py', *map(str, arguments)])
        capsys.readouterr()
        code = tool.show_usage_errors(tool.main)
        return code, *capsys.readouterr()

    return study


def result(row: str, seed: int, shift: float = 0.0, **changed: object) -> dict[str, Any]:
    scores = {f'IoU_{name}': 50.0 + shift for name in comparison.THIN}
    scores |= {'IoU_Sky': 90.0, 'mIoU': 60.0 + shift, 'mBIoU': 30.0 + 2 * shift}
    scores['mIoU_trimap_3'] = 40.0
    return dict(
        row=row, seed=seed, split='camvid', iterations=8, batch_size=4, crop_size=[8, 8],
        seconds_per_iteration=0.5, parameters=4_200_000, multiply_adds=1_500_000_000,
        scores=scores, **changed,
    )  # fmt: skip


def write(folder: Path, *results: dict[str, Any]) -> None:
    for entry in results:
        path = folder / f'{entry["row"]}-{entry["seed"]}.json'
        path.write_text(json.dumps(entry))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split('|')[1:-1]]


def test_differences_are_paired_by_seed(tmp_path: Path, study: Study) -> None:
    """Against the closed form of Student's interval, with a seed that only one row has."""
    shifts = [1.0, 2.0, 4.0]
    write(tmp_path, *(result('bilinear', seed, 10.0 * seed) for seed in range(4)))
    write(tmp_path, *(result('ddf', i, 10.0 * i + shift) for i, shift in enumerate(shifts)))
    rows = comparison.read_rows(tmp_path, 'camvid')
    assert [row.name for row in rows] == ['bilinear', 'ddf']
    difference = rows[1].difference(rows[0], 'mIoU')
    assert difference is not None
    assert difference.interval is not None
    # Student's t of two degrees of freedom at 97.5 %.
    half = 4.302653 * np.std(shifts, ddof=1) / math.sqrt(3)
    mean = np.mean(shifts)
    assert difference.mean == pytest.approx(mean)
    assert difference.seeds == 3
    assert difference.interval == pytest.approx((mean - half, mean + half), rel=1e-5)
    times = tmp_path / 'times'
    times.write_text(json.dumps(dict(milliseconds=dict(bilinear=40.0, ddf=50.0))))
    code, out, _ = study('table', '--results', tmp_path, '--times', times)
    assert code == 0
    scores, costs, classes = (
        next(row for row in map(cells, part.splitlines()) if row[0] == 'ddf')
        for part in out.split('\n\n')
    )
    assert scores[:3] == ['ddf', '0 1 2', f'{60 + 10 + mean:.2f}']
    assert scores[3].startswith('+2.33 [')
    assert costs == ['ddf', '4.20 M', '1.50 G', '0.50', '50.0', '1.25']
    assert classes[-1] == '90.0'
    code, out, _ = study('table', '--results', tmp_path, '--times', times, '--to', 'ddf')
    rows = {row[0]: row for row in map(cells, out.partition('\n\n')[0].splitlines())}
    assert rows['bilinear'][1:3] == ['0 1 2 3', '75.00']
    assert rows['bilinear'][3].startswith('-2.33 [')


def test_a_single_pair_has_no_interval(tmp_path: Path) -> None:
    write(tmp_path, result('bilinear', 0), result('ddf', 0, 1.5), result('carafe', 1))
    rows = {row.name: row for row in comparison.read_rows(tmp_path, 'camvid')}
    assert str(rows['ddf'].difference(rows['bilinear'], 'mBIoU')) == '+3.00'
    assert rows['carafe'].difference(rows['bilinear'], 'mIoU') is None


def test_the_picture_is_drawn(tmp_path: Path, study: Study) -> None:
    write(tmp_path, *(result('bilinear', i) for i in range(2)))
    write(tmp_path, *(result('ddf', i, 1.0 + i) for i in range(2)))
    assert study('plot', tmp_path / 'out.png', '--results', tmp_path)[0] == 0
    assert cv2.imread(str(tmp_path / 'out.png')).std() > 1


@pytest.mark.parametrize(
    ('entries', 'expected'),
    [
        ([], 'no results for the split camvid'),
        ([result('ddf', 0)], 'no result of bilinear'),
        ([result('bilinear', 0), result('ddf', 0) | dict(iterations=9)], 'one schedule'),
    ],
)
def test_results_that_cannot_be_compared(
    tmp_path: Path, study: Study, entries: list[dict[str, Any]], expected: str
) -> None:
    write(tmp_path, *entries)
    code, _, error = study('table', '--results', tmp_path)
    assert code == 1
    assert expected in error


def test_an_unknown_row_is_named(tmp_path: Path, study: Study) -> None:
    code, _, error = study('run', 'bilinaer', '--seed', 0, '--results', tmp_path)
    assert code == 1
    assert "did you mean 'bilinear'" in error


def test_class_scores_are_those_of_the_mean() -> None:
    metric = parts.ClassIoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=['a', 'b', 'c'])
    truth, prediction = torch.randint(0, 3, (2, 1, 8, 9))
    metric.results = [IoUMetric.intersect_and_union(prediction, truth, 3, 255)]
    scores = metric.compute_metrics(metric.results)
    each = [scores[f'IoU_{name}'] for name in 'abc']
    assert np.mean(each) == pytest.approx(scores['mIoU'], abs=0.01)
    both, any_ = ((truth == 1) & (prediction == 1)).sum(), ((truth == 1) | (prediction == 1)).sum()
    assert each[1] == pytest.approx(float(100 * both / any_), abs=0.01)


def test_the_table_orders_rows_that_are_there() -> None:
    assert set(comparison.ORDER) <= set(runs.rows())


@pytest.mark.parametrize('row', runs.rows())
def test_every_row_builds_and_is_timed(row: str) -> None:
    """At sizes that no stride divides."""
    if row == 'dysample' and find_spec('spandrel') is None:
        pytest.skip('DySample comes with spandrel (extra benchmark), which is not installed')
    times = timing.time_rows([row], seconds=0.01, size=(45, 61))
    assert times['milliseconds'][row] > 0


@pytest.fixture
def camvid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images of each drive in train and in val."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for folder, top in ((split, 256), (f'{split}annot', 11)):
            (tmp_path / 'camvid' / folder).mkdir(parents=True)
            for i, drive in enumerate(('0001TP', '0016E5') * 2):
                shape = (64, 96, 3) if top == 256 else (64, 96)
                image = rng.integers(0, top, shape, dtype=np.uint8)
                cv2.imwrite(str(tmp_path / 'camvid' / folder / f'{drive}_{i}.png'), image)
    monkeypatch.setenv('DDF_DATA_ROOT', str(tmp_path))
    monkeypatch.setenv('LOCAL_RANK', '0')
    return tmp_path


def test_a_run_is_scored_and_an_interrupted_one_goes_on(
    camvid: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = runs.row_config

    def short(row: str) -> Any:
        cfg = read(row)
        cfg.train_cfg.max_iters = iterations
        cfg.default_hooks.checkpoint.interval = 1
        cfg.train_dataloader.batch_size = 2
        crop = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'RandomCrop')
        crop.crop_size = cfg.model.data_preprocessor.size = (32, 32)
        return cfg

    monkeypatch.setattr(runs, 'row_config', short)
    iterations = 1
    folders = ['--work-dirs', camvid / 'work', '--results', camvid / 'results', '--split', 'drives']
    code, out, error = study('run', 'bilinear', '--seed', 3, *folders)
    assert code == 0, error
    path = Path(out.splitlines()[-1])
    assert path == camvid / 'results' / 'bilinear-drives-3.json'
    first = json.loads(path.read_text())
    assert first['split'] == 'drives'
    assert {'mIoU', 'mBIoU', 'mIoU_trimap_3', 'IoU_Pole'} <= first['scores'].keys()
    # Without its result, and with more to do, it starts from its checkpoint.
    path.unlink()
    iterations = 2
    assert study('run', 'bilinear', '--seed', 3, *folders)[0] == 0
    logs = [file.read_text() for file in (camvid / 'work').rglob('*.log')]
    assert any('resumed epoch: 0, iter: 1' in log for log in logs)
    # Interrupted after training, it is scored with the averaged weights as it would have been.
    scores = json.loads(path.read_text())['scores']
    path.unlink()
    assert study('run', 'bilinear', '--seed', 3, *folders)[0] == 0
    again = json.loads(path.read_text())
    assert again['scores'] == pytest.approx(scores, nan_ok=True)
    assert again['seconds_per_iteration'] is None
    # A result that is there is not computed anew.
    path.write_text('{}')
    assert study('run', 'bilinear', '--seed', 3, *folders)[0] == 0
    assert path.read_text() == '{}'


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    """`study.py table | head -1`: no traceback after the line."""
    write(tmp_path, *(result(f'row{i}', 0) for i in range(500)), result('bilinear', 0))
    command = (
        f'"{sys.executable}" "{ROOT}/benchmarks/study.py" table --results "{tmp_path}" | head -1'
    )
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert cells(done.stdout)[:2] == ['row', 'seeds']
    assert 'BrokenPipe' not in done.stderr
    assert 'Traceback' not in done.stderr
