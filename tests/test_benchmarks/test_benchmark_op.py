"""The operator benchmark: that it runs, judges rightly, and refuses to time what does not agree."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scripts import ROOT
from torch import Tensor

import benchmark_op
import ddf_seg
from ddf_benchmarks import measure
from ddf_benchmarks.op_benchmark import cases, costs, operators, report, sections
from ddf_seg.ops import is_native_available

CPU = torch.device('cpu')


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-W', 'ignore', ROOT / 'benchmarks/benchmark_op.py', *arguments],
        env={**os.environ, 'OMP_NUM_THREADS': '2', **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.skipif(not is_native_available(), reason='the operators are not compiled here')
def test_quick_run_prints_tables_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / 'results.json'
    sections = ['forward', 'backward', 'branches', 'upsample', 'threads']
    result = run('--quick', '--kernel-sizes', '3', '--json', str(file), '--sections', *sections)
    assert result.returncode == 0, result.stderr
    results = json.loads(file.read_text())
    assert results['threads'] == 2
    assert results['fma_rate'] > 1e8
    assert [each['section'] for each in results['sections']] == sections
    forward = results['sections'][0]['rows']
    assert len(forward) == 4, 'two shapes in two dtypes'
    for row in forward:
        ours = min(row['nchw ms'], row['nhwc ms'])
        theirs = min(row['depthwise nchw ms'], row['depthwise nhwc ms'])
        assert row['ratio of the better'] == pytest.approx(ours / theirs)
    for row in results['sections'][2]['rows']:
        of_depthwise = row['spatial ms'] / row['depthwise ms']
        assert row['spatial of depthwise'] == pytest.approx(of_depthwise)
    lines = [line for line in result.stdout.splitlines() if line.startswith('| ')]
    rows = sum(len(each['rows']) for each in results['sections'])
    assert len(lines) == rows + 2 * len(sections)
    assert 'forward: ' in result.stderr
    assert [line for line in result.stderr.splitlines() if line.rstrip().endswith(':')] == []


def test_costs_are_counted_and_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each layer on 256 channels of 8×8 pixels."""
    made = []

    def peak(make: Callable[[], tuple[measure.Run, measure.Run]], device: torch.device) -> int:
        small, run = make()
        made.append((small().shape, run().shape))
        return 3 << 20

    monkeypatch.setattr(costs, 'peak_beyond_result', peak)
    settings = measure.Settings(CPU, 0.01, torch.get_num_threads())
    rows = {row.cells['layer']: row.cells for row in costs.cost_rows(settings, quick=True)}
    assert list(rows) == ['convolution', 'depthwise', 'PAC', 'DFN', 'DDF']
    assert made == [((1, 256, 8, 8), (1, 256, 8, 8))] * 5
    pixels = 64
    assert rows['DFN']['filters MiB'] == pytest.approx(256 * 9 * pixels * 4 / 2**20)
    assert rows['PAC']['filters MiB'] == pytest.approx(9 * pixels * 4 / 2**20)
    assert rows['DDF']['filters MiB'] == pytest.approx(9 * (256 + pixels) * 4 / 2**20)
    assert rows['convolution']['multiply-adds M'] == pytest.approx(256**2 * 9 * pixels / 1e6)
    assert rows['depthwise']['to depthwise'] == 1
    assert rows['DFN']['to depthwise'] > 1
    assert rows['DDF']['peak MiB'] == 3


def test_nothing_is_computed_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [library.allow_tf32 for library in libraries]
    for library in libraries:
        library.allow_tf32 = True
    seen = []

    def ceilings(settings: measure.Settings) -> measure.Ceilings:
        seen.extend(library.allow_tf32 for library in libraries)
        return measure.Ceilings(1.0, 1.0, 1)

    monkeypatch.setattr(sections, 'measure_ceilings', ceilings)
    sections.measure(sections.Request([], [], [], measure.Settings(CPU, 0.01, 1), True))
    assert seen == [False, False]
    assert all(library.allow_tf32 for library in libraries)
    for library, value in zip(libraries, before, strict=True):
        library.allow_tf32 = value


def test_without_the_library_there_is_nothing_to_measure(tmp_path: Path) -> None:
    package = Path(ddf_seg.__file__).parent
    shutil.copytree(package, tmp_path / 'ddf_seg', ignore=shutil.ignore_patterns('*.so'))
    result = run('--quick', PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    error = result.stderr.partition('error: ')[2]
    assert error.startswith('there is nothing to measure, the operators run in plain torch: ')
    assert error.count('\n') == 1


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--device', 'tpu'], '--device: expected cpu or cuda'),
        (['--kernel-sizes', '4'], '--kernel-sizes: expected odd sizes, got 4'),
        (['--seconds', '0'], '--seconds: expected a number above 0, got 0'),
        (['--json', 'none/of/this.json'], '--json: expected a file in an existing folder'),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, 'argv', ['benchmark_op.py', *arguments])
    with pytest.raises(SystemExit, match='2'):
        benchmark_op.parse_args()
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ('ours', 'arithmetic', 'passed'),
    [
        # target 0.5 of theirs, which take 10
        (4.9, 1.0, True),
        (5.1, 1.0, False),
        # arithmetic alone takes 6, so 75 % of that rate is asked for: 8
        (7.9, 6.0, True),
        (8.1, 6.0, False),
    ],
)
def test_the_target_yields_to_the_arithmetic_floor(
    ours: float, arithmetic: float, passed: bool
) -> None:
    floor = cases.Floor(0.5, arithmetic)
    check = operators.ratio_check((ours, 10.0), 'of depthwise', 0.5, floor)
    assert check.passed is passed
    assert ('arithmetic floor' in str(check)) == (arithmetic == 6.0)
    assert str(check).startswith('PASS' if passed else '**miss**')


def measured_on_gpu(
    monkeypatch: pytest.MonkeyPatch, request: sections.Request, times: dict[str, float]
) -> list[report.Table]:
    """What a GPU's run would print if it measured these times; the tensors lie on the CPU."""

    def case(shape: cases.Shape, dtype: torch.dtype, _: torch.device, *args: int) -> cases.Case:
        return cases.Case(shape, dtype, CPU, *args)

    def side_by_side(_: measure.Settings, contestants: dict[str, measure.Run]) -> dict[str, float]:
        return {name: times[name] for name in contestants}

    # A last-level cache that every map fills
    ceilings = measure.Ceilings(fma_rate=1e12, bandwidth=1e12, cache=1)
    monkeypatch.setattr(sections, 'SHAPES', ((1, 4, 6, 7),))
    monkeypatch.setattr(sections, 'UPSAMPLE_SHAPE', (1, 4, 6, 7))
    monkeypatch.setattr(sections, 'measure_ceilings', lambda settings: ceilings)
    monkeypatch.setattr(sections, 'machine', lambda device: 'a GPU')
    for module in (sections, operators):
        monkeypatch.setattr(module, 'Case', case)
    monkeypatch.setattr(operators, 'side_by_side', side_by_side)
    return sections.measure(request)[1]


@pytest.mark.parametrize(
    ('nchw', 'nhwc', 'of_bytes', 'of_depthwise'),
    [
        # A copy takes 1, depthwise 2 contiguous and 1.5 in channels_last.
        (1.29, 1.4, 'PASS of the bytes 1.29 ≤ 1.3', 'PASS {} 0.93 ≤ 1'),
        (1.9, 1.29, 'PASS of the bytes 1.29 ≤ 1.3', 'PASS {} 0.95 ≤ 1'),
        (1.31, 1.45, '**miss** of the bytes 1.31 ≤ 1.3', 'PASS {} 0.97 ≤ 1'),
        (1.2, 1.59, 'PASS of the bytes 1.20 ≤ 1.3', '**miss** {} 1.06 ≤ 1'),
        (2.2, 1.4, '**miss** of the bytes 1.40 ≤ 1.3', '**miss** {} 1.10 ≤ 1'),
    ],
)
def test_the_aims_on_a_gpu(
    nchw: float,
    nhwc: float,
    of_bytes: str,
    of_depthwise: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Forward, the bytes' time in the better format; both ways, depthwise's in each format."""
    ours = {'nchw': nchw, 'nhwc': nhwc}
    theirs = {'depthwise nchw': 2.0, 'depthwise nhwc': 1.5}
    times = {**ours, **theirs, 'copy': 1.0, 'fresh copy': 1.0, 'unfold': 30.0}
    gpu = measure.Settings(torch.device('cuda'), 0.01, 1)
    request = sections.Request(['forward', 'backward'], ['float32', 'bfloat16'], [3, 5], gpu, False)
    tables = measured_on_gpu(monkeypatch, request, times)
    progress = capsys.readouterr().err.splitlines()
    of_depthwise = of_depthwise.format('of depthwise in the same format')
    # float32 and bfloat16 of 3×3, then of 5×5: only the first is judged.
    for table, wanted in zip(tables, ([of_bytes, of_depthwise], [of_depthwise]), strict=True):
        assert [[str(check) for check in row.checks] for row in table.rows] == [wanted, [], [], []]
        assert f'| {"; ".join(wanted)} ' in table.markdown()
        line = next(line for line in progress if line.startswith(f'{table.name}: '))
        assert line.endswith(f': {"; ".join(wanted)}')
    passed = sum(text.startswith('PASS') for text in (of_bytes, of_depthwise, of_depthwise))
    assert report.summary(tables) == f'{passed} of 3 targets met'


def test_a_gpu_is_not_judged_by_the_targets_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worse than those, in every section that has some."""
    times = dict.fromkeys(
        [
            f'{what} {layout}'
            for what in ('both', 'channel', 'depthwise')
            for layout in cases.LAYOUTS
        ]
        + ['copy', 'fresh copy', 'composition', 'interpolate'],
        1.0,
    )
    times |= {'ours': 9.0, **{f'spatial {layout}': 9.0 for layout in cases.LAYOUTS}}
    for device, judged in (('cuda', False), ('cpu', True)):
        settings = measure.Settings(torch.device(device), 0.01, 1)
        request = sections.Request(['branches', 'upsample'], ['float32'], [3], settings, False)
        tables = measured_on_gpu(monkeypatch, request, times)
        assert all(table.rows for table in tables)
        assert [any(row.checks for row in table.rows) for table in tables] == [judged, judged]


def test_floor_counts_bytes_and_multiply_adds() -> None:
    """2×4×5×6, kernel 3: 240 outputs of 9 taps; 2 lanes a tap forward, 5 backward."""
    case = cases.Case((2, 4, 5, 6), torch.float32, CPU)
    ceilings = measure.Ceilings(fma_rate=1000.0, bandwidth=1.0, cache=1)
    assert case.floor(ceilings, 5.0).arithmetic == pytest.approx(240 * 18 / 1000)
    assert case.floor(ceilings, 5.0).bound == 'memory'
    assert case.floor(ceilings, 1.0, backward=True).seconds == pytest.approx(240 * 45 / 1000)
    # X, F, S in, O out
    moved = (240 + 2 * 4 * 9 + 2 * 9 * 30 + 240) * 4
    assert 2 * case.copy()().nbytes == pytest.approx(moved, abs=8)


def test_contestants_take_turns_and_are_timed() -> None:
    turns: list[str] = []

    def sleeper(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            turns.append(name)
            time.sleep(seconds)

        return run

    settings = measure.Settings(CPU, seconds=0.1, threads=1)
    times = measure.side_by_side(settings, {'a': sleeper('a', 0.002), 'b': sleeper('b', 0.02)})
    assert times['a'] >= 0.002
    assert times['b'] >= 0.02
    assert ''.join(turns[-4:]) == 'abab'


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='counts pages as Linux does')
def test_page_faults_are_counted() -> None:
    pages = 300
    kept = bytearray(pages * mmap.PAGESIZE)

    def fresh() -> None:
        with mmap.mmap(-1, pages * mmap.PAGESIZE) as memory:
            for page in range(pages):
                memory[page * mmap.PAGESIZE] = 1

    def reused() -> None:
        for page in range(pages):
            kept[page * mmap.PAGESIZE] = 1

    settings = measure.Settings(CPU, seconds=0.05, threads=1)
    timings = measure.with_faults(settings, {'fresh': fresh, 'reused': reused})
    assert timings['fresh'].faults == pytest.approx(pages, rel=0.1)
    assert timings['reused'].faults < 10
    assert timings['fresh'].seconds > timings['reused'].seconds > 0


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='counts pages as Linux does')
@pytest.mark.parametrize('name', ['depthwise', 'unfold', 'composition'])
def test_what_does_not_agree_is_not_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = 2 if name == 'composition' else 1
    case = cases.Case((1, 4, 6, 7), torch.float32, CPU, scale=scale)
    assert_agrees = getattr(case, f'assert_{name}_agrees')
    assert_agrees()
    wrong = 'ddf_upsample' if scale == 2 else 'ddf'
    right: Any = getattr(cases, wrong)

    def off_by_a_little(*arguments: Any) -> Tensor:
        return right(*arguments) + 0.01

    monkeypatch.setattr(cases, wrong, off_by_a_little)
    with pytest.raises(AssertionError):
        assert_agrees()


def calls_with_a_temporary() -> tuple[measure.Run, measure.Run]:
    """The second needs 64 MiB beyond its result of 4."""

    def run(mebibytes: int) -> Tensor:
        temporary = torch.ones(mebibytes << 18)
        return temporary[: 1 << 20] + 1

    return lambda: run(4), lambda: run(64)


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='reads /proc')
def test_peak_memory_is_measured() -> None:
    peak = measure.peak_beyond_result(calls_with_a_temporary, CPU)
    # The system may take back what the process had before, 4 MiB once.
    assert peak / 2**20 == pytest.approx(64, abs=8)


def test_summary_counts_the_targets() -> None:
    checks = [report.Check('a', 1.0, 2.0), report.Check('b', 1.0, 2.0, at_most=False)]
    table = report.Table('t', 'caption', [report.Row({'x': 1.0}, checks), report.Row({'x': 123.4})])
    assert report.summary([table]) == '1 of 2 targets met'
    lines = [[cell.strip() for cell in line.split('|')] for line in table.markdown().splitlines()]
    assert ['', 'x', 'targets', ''] in lines
    assert ['', '1', 'PASS a 1.00 ≤ 2; **miss** b 1.00 ≥ 2', ''] in lines
    assert ['', '123', '', ''] in lines
