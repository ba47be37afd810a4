"""The benchmark of networks: that it runs, goes on, and counts nothing that went wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from scripts import ROOT, load_script

from ddf_benchmarks.network import ROWS, measuring
from ddf_benchmarks.network.forms import Cell
from ddf_benchmarks.network.measuring import Request, Result, Results
from ddf_benchmarks.network.networks import build_network, image
from ddf_benchmarks.network.processes import CellFailure, Started, Turn, isolated
from ddf_benchmarks.network.report import report
from ddf_seg.errors import UsageError

SIZE = (40, 56)


def broken(*_: Any) -> Any:
    raise CellFailure('no such thing')


def test_it_runs_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # The tool sets it for its processes.
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    # The other process does not measure: what it does may be done here.
    monkeypatch.setattr(measuring, 'isolated', lambda function, *given, **_: function(*given))
    words = ['--rows', 'ddf', '--forms', 'eager', '--sizes', '40x56', '--rounds', '3']
    monkeypatch.setattr(sys, 'argv', ['benchmark_network.py', *words, '--out', str(tmp_path)])
    code = load_script('tools/benchmark_network.py').main()
    said = capfd.readouterr()
    assert code == 0, said.err
    assert (tmp_path / 'results.md').read_text() == said.out
    results = json.loads((tmp_path / 'results.json').read_text())
    assert (results['threads'], results['torch']) == (1, torch.__version__)
    (cell,) = results['cells']
    assert (cell['failure'], cell['agreement']) == ('', 1)
    assert 1e-4 < cell['least'] <= cell['wall'] <= cell['start']
    assert cell['cpu'] > 1e-4
    assert 50e6 < cell['loaded'] < cell['peak'] < 4e9
    # Only what is missing is measured, and this cannot be.
    monkeypatch.setattr(measuring, 'isolated', lambda *_, **__: {})
    monkeypatch.setattr(measuring, 'Running', broken)
    request = Request(['ddf'], ['eager', 'compiled'], [SIZE], 1, 3, tmp_path, 60)
    found = measuring.measure(request, lambda _: None).cells
    assert found['ddf', 'eager', SIZE].wall == cell['wall']
    assert found['ddf', 'compiled', SIZE].failure == 'no such thing'
    with pytest.raises(UsageError, match='was measured with threads 1; expected threads 2'):
        measuring.read_results(tmp_path / 'results.json', 2)


class Fake:
    """A process whose turns take 1, 2, … seconds."""

    def __init__(self, cell: Cell, image: np.ndarray, limit: float) -> None:
        self.cell = cell
        ids = np.load(cell.file('.npy'))
        if cell.form == 'onnxruntime':
            ids[0, 0] = 1
        self.started = Started(ids, 9.0, 10)
        self.turns = 0

    def turn(self) -> Turn:
        self.turns += 1
        return Turn(self.turns, self.turns / 2, 10 * self.turns)

    def stop(self) -> int:
        return 20

    def kill(self) -> None:
        pass


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a network that is exported, and whose processes are fake."""
    monkeypatch.setattr(measuring, 'Running', Fake)
    monkeypatch.setattr(measuring, '_export', lambda *_: [])
    np.save(tmp_path / 'ddf-40x56.npy', np.zeros((1, *SIZE), np.uint8))
    return tmp_path


def test_other_classes_are_no_result(fake: Path) -> None:
    request = Request(['ddf'], ['eager', 'onnxruntime'], [SIZE], 1, 3, fake, 60)
    cells = measuring.measure(request, lambda _: None).cells
    assert cells['ddf', 'eager', SIZE] == Result(
        'ddf', 'eager', SIZE, group=1, wall=2, least=1, cpu=1, faults=20, peak=20, loaded=10,
        agreement=1, start=9,
    )  # fmt: skip
    assert cells['ddf', 'onnxruntime', SIZE].failure.startswith('2.5% of the pixels get another')


def test_a_group_ends_where_memory_does(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each takes 3 GiB, and there is room for two beside 1 GiB to spare.
    free = [8 << 30]

    class Taking(Fake):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            free.append(free[-1] - (3 << 30))

        def stop(self) -> int:
            free.pop()
            return super().stop()

    monkeypatch.setattr(measuring, 'Running', Taking)
    monkeypatch.setattr(measuring.resident, 'available', lambda: free[-1])
    request = Request(['ddf'], ['eager', 'compiled', 'aoti'], [SIZE], 1, 1, fake, 60)
    cells = measuring.measure(request, lambda _: None).cells
    assert [cell.group for cell in cells.values()] == [1, 1, 2]


def test_what_processes_print_is_no_part_of_the_report(capfd: pytest.CaptureFixture[str]) -> None:
    assert isolated(print, 'progress', limit=60) is None
    assert capfd.readouterr().out == ''


def test_processes_that_fail_say_why() -> None:
    assert isolated(sorted, [2, 1], limit=60) == [1, 2]
    for function, argument, limit, message in (
        (os._exit, 3, 60, 'the process died with exit code 3'),
        (time.sleep, 60, 1, 'not finished after 1 s'),
        (int, 'x', 60, 'ValueError: invalid literal'),
    ):
        with pytest.raises(CellFailure, match=message):
            isolated(function, argument, limit=limit)


def test_processes_load_no_torch_of_their_own() -> None:
    code = (
        'import sys, ddf_benchmarks.network.processes\n'
        "print(sorted({'torch', 'mmengine', 'mmseg', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=ROOT / 'benchmarks',
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == '[]', done.stderr


def test_networks_are_the_same_every_time_and_differ_from_each_other() -> None:
    x = torch.from_numpy(image((64, 64))).permute(0, 3, 1, 2).float() / 64 - 2
    with torch.no_grad():
        scores = {row: build_network(row)._forward(x) for row in ROWS}
        again = build_network('ddf')._forward(x)
    torch.testing.assert_close(again, scores['ddf'], rtol=0, atol=0)
    for row in ('carafe', 'dysample', 'ddf'):
        assert scores[row].shape == scores['bilinear'].shape == (1, 11, 16, 16)
        assert (scores[row] - scores['bilinear']).abs().max() > 1e-3
    assert scores['DDFHead'].shape == (1, 11, 32, 32)


def test_the_table() -> None:
    cells = [
        Result('bilinear', 'eager', SIZE, wall=0.1, least=0.09, cpu=0.2, peak=10**8, agreement=1),
        Result('ddf', 'eager', SIZE, wall=0.2, least=0.19, cpu=0.3, peak=10**8, agreement=1),
        Result('ddf', 'onnxruntime', SIZE, wall=0.05, agreement=0.5),
        Result('dysample', 'aoti', SIZE, failure='no compiler'),
    ]
    circumstances = dict(
        machine='X', threads=1, cores=2, torch='1', onnxruntime='2', openvino='none'
    )
    text = report(Results(circumstances, {cell.key: cell for cell in cells}))
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()]
    assert [row[:3] + row[5:7] for row in rows if len(row) > 7][2:] == [
        ['eager', 'bilinear', '100.0', '1.00', '1.00'],
        ['eager', 'ddf', '200.0', '2.00', '1.00'],
        ['aoti', 'dysample', 'not measured', '', ''],
        ['onnxruntime', 'ddf', '50.0', '', '0.25'],
    ]
    assert '- dysample, aoti, 40×56: no compiler' in text
    assert text.endswith('X, 1 of 2 threads, torch 1, onnxruntime 2, openvino none')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--sizes', '40'], '--sizes: expected HEIGHTxWIDTH in pixels, got'),
        (['--sizes', '0x9'], '--sizes: expected HEIGHTxWIDTH in pixels, got'),
        (['--threads', '0'], '--threads: expected a whole number of at least 1'),
        (['--rows', 'none'], '--rows: invalid choice'),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool = load_script('tools/benchmark_network.py')
    monkeypatch.setattr(sys, 'argv', ['benchmark_network.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        tool.parse_args()
    assert message in capsys.readouterr().err
