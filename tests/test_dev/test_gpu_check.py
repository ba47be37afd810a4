"""The check for machines with a GPU: what of it needs none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripts import ROOT, load_script

gpu_check = load_script('dev/gpu_check.py')
Part = gpu_check.Part


def python(code: str) -> list[str]:
    return [sys.executable, '-S', '-c', code]


def test_a_part_that_hangs_is_killed_with_its_children_and_the_rest_runs(tmp_path: Path) -> None:
    late = tmp_path / 'late'
    child = f'import time, pathlib; time.sleep(4); pathlib.Path({str(late)!r}).touch()'
    hangs = (
        f'import subprocess, sys, time; subprocess.Popen([sys.executable, "-S", "-c", {child!r}]); '
        'print("begun", flush=True); time.sleep(60)'
    )
    begin = time.monotonic()
    outcomes = gpu_check.run_parts(
        [
            Part('hangs', python(hangs), 1.5),
            Part('lacks', python('1'), 9, programs=['no-such-program'], modules=['no_such_module']),
            Part('fails', python('print("why"); raise SystemExit(3)'), 9),
            Part(
                'passes', python('import os; print(os.environ["GIVEN"])'), 9,
                environment={'GIVEN': 'x | y'},
            ),
        ],
        tmp_path / 'out',
    )  # fmt: skip
    assert [(o.name, o.verdict, o.note) for o in outcomes] == [
        ('hangs', 'timed out', 'killed after its limit of 1.5 s'),
        ('lacks', 'missing', 'not here: no-such-program, no_such_module'),
        ('fails', 'failed', 'why'),
        ('passes', 'passed', 'x | y'),
    ]
    out = tmp_path / 'out'
    assert 'begun' in (out / 'hangs.log').read_text()
    assert [each['verdict'] for each in json.loads((out / 'results.json').read_text())] == [
        o.verdict for o in outcomes
    ]
    assert r'x \| y' in (out / 'results.md').read_text()
    time.sleep(max(0.0, begin + 6 - time.monotonic()))
    assert not late.exists()


def test_what_measures_has_the_machine_for_itself(tmp_path: Path) -> None:
    """The others run side by side: each waits for the other's file."""

    def meets(own: str, other: str) -> list[str]:
        return python(
            f'import pathlib, time; here = pathlib.Path({str(tmp_path)!r})\n'
            f'(here / {own!r}).touch(); end = time.monotonic() + 8\n'
            f'while not (here / {other!r}).exists():\n'
            '    assert time.monotonic() < end, "alone"\n'
            '    time.sleep(0.05)'
        )

    outcomes = gpu_check.run_parts(
        [
            Part('first', meets('first', 'second'), 9),
            Part('second', meets('second', 'first'), 9),
            Part('measures', meets('measures', 'third'), 1, measures=True),
            Part('third', meets('third', 'third'), 9, measures=True),
        ],
        tmp_path / 'out',
    )
    assert [o.verdict for o in outcomes] == ['passed', 'passed', 'timed out', 'passed']


def test_without_what_is_needed_the_rest_is_left_out(tmp_path: Path) -> None:
    parts = [
        Part('build', python('raise SystemExit(1)'), 9, needed=True),
        Part('tests', python('1'), 9),
    ]
    outcomes = gpu_check.run_parts(parts, tmp_path)
    assert [o.verdict for o in outcomes] == ['failed', 'left out']
    assert outcomes[1].note == 'build did not pass'


def test_all_parts_together_stay_below_nine_minutes() -> None:
    parts = gpu_check.parts('9.0')
    steps = gpu_check.steps(parts)
    assert [part for step in steps for part in step] == parts
    assert sum(max(part.seconds for part in step) for step in steps) <= 9 * 60
    assert parts[0].environment['TORCH_CUDA_ARCH_LIST'] == '9.0'
    for part in parts:
        for word in part.command:
            if word.endswith('.py'):
                assert (ROOT / word).is_file(), word


def test_dry_run_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / 'dev/gpu_check.py', '--dry-run'],
        capture_output=True, text=True, timeout=60, check=True, env={'PATH': ''},
    )  # fmt: skip
    (profile,) = [line for line in done.stdout.splitlines() if line.startswith('profile: ')]
    assert profile.endswith('(at most 50 s; not here: ncu)')
