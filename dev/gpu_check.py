"""Everything that wants a GPU, in one run of less than nine minutes: python dev/gpu_check.py

Builds the kernels for the GPU at hand, in the environment that is there (nothing is downloaded),
runs the tests and NVIDIA's memory checker side by side, then the benchmarks and NVIDIA's profiler
one by one. Each part has a log and a time limit of its own: one that hangs is killed, one whose
tool is missing is reported, and the others go on. results.md and results.json say what came out.
Ends with 1 if a part failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors
from ddf_seg.errors import UsageError
from gpu_profile import METRICS

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
CASES = [PYTHON, 'dev/gpu_cases.py']
PYTEST = [PYTHON, '-m', 'pytest', '-q', '-p', 'no:cacheprovider']


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        command: with its arguments; {out} stands for the folder of the results.
        seconds: that it may take.
        programs: that must be on the PATH.
        modules: that must be installed.
        environment: added to this process' own.
        needed: whether nothing else makes sense without it.
        measures: whether it wants the machine for itself; others run beside their neighbours.
    """

    name: str
    command: Sequence[str]
    seconds: float
    programs: Sequence[str] = ()
    modules: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    needed: bool = False
    measures: bool = False

    def missing(self) -> str:
        """What it lacks here; empty if nothing."""
        lacking = [name for name in self.programs if shutil.which(name) is None]
        lacking += [name for name in self.modules if importlib.util.find_spec(name) is None]
        return ', '.join(lacking)


@dataclass(frozen=True)
class Outcome:
    """What became of a part: 'passed', 'failed', 'timed out', 'missing' or 'left out'."""

    name: str
    verdict: str
    seconds: float
    note: str


def parts(architecture: str) -> list[Part]:
    """All parts in their order, for a GPU of this architecture ('9.0')."""
    build = {
        'FORCE_CUDA': '1',
        'DDF_SEG_BUILD_NATIVE': '1',
        'TORCH_CUDA_ARCH_LIST': architecture,
    }
    # What the emulation runs needs no GPU, and minutes to compile.
    operators = [
        f'tests/test_ops/test_cuda{name}.py' for name in ('', '_gain', '_norm', '_softmax')
    ]
    operators += ['-k', 'not emulat']
    if importlib.util.find_spec('xdist') is not None:
        operators += ['-n', '4']  # the CPU computes what to compare with
    benchmark = ['benchmarks/benchmark_op.py', '--device', 'cuda', '--kernel-sizes', '3']
    network = ['-W', 'ignore', 'benchmarks/study.py', 'time', 'segformer']
    sections = ['--sections', 'forward', 'backward', 'upsample', '--seconds', '0.15']
    # Its default would set the card's clocks.
    profile = ['ncu', '--csv', '--print-units', 'base', '--clock-control', 'none']
    profile += ['--metrics', ','.join(METRICS)]
    ours = ['--kernel-name-base', 'demangled', '--kernel-name', 'regex:ddf::']
    sanitizer = ['compute-sanitizer', '--error-exitcode', '1', '--tool']
    return [
        Part('build', [PYTHON, 'setup.py', '-q', 'build_ext', '--inplace'], 200, environment=build,
             needed=True),
        Part('operators', [*PYTEST, *operators], 150, modules=['pytest']),
        Part('layers', [*PYTEST, 'tests/test_layers/test_cuda_layers.py'], 150, modules=['pytest']),
        Part('training', [*PYTEST, 'tests/test_models/test_cuda_training.py'], 90,
             modules=['pytest', 'mmseg']),
        Part('memcheck', [*sanitizer, 'memcheck', *CASES], 60, programs=['compute-sanitizer']),
        Part('racecheck', [*sanitizer, 'racecheck', *CASES], 60, programs=['compute-sanitizer']),
        Part('benchmark', [PYTHON, *benchmark, *sections, '--json', '{out}/benchmark.json'], 60,
             modules=['prettytable'], measures=True),
        Part('layer times', [PYTHON, *benchmark, '--sections', 'layers', '--seconds', '0.15'], 25,
             modules=['prettytable'], measures=True),
        Part('network times', [PYTHON, *network, '--device', 'cuda', '--seconds', '1'], 50,
             modules=['prettytable', 'mmseg', 'efficientnet_lite_pytorch'], measures=True),
        Part('profile', [*profile, *ours, *CASES, '--large'], 50, programs=['ncu'],
             measures=True),
    ]  # fmt: skip


def python_path() -> str:
    """With this checkout first: it need not be installed."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))


def run_part(part: Part, out: Path, log: Path) -> Outcome:
    """Runs it in a group of processes, all of which end with its time."""
    lacking = part.missing()
    if lacking:
        return Outcome(part.name, 'missing', 0, f'not here: {lacking}')
    command = [word.replace('{out}', str(out)) for word in part.command]
    begin = time.monotonic()
    with log.open('w') as file:
        file.write(f'$ {" ".join(command)}\n')
        file.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, 'PYTHONPATH': python_path(), **part.environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=part.seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            note = f'killed after its limit of {part.seconds:g} s'
            return Outcome(part.name, 'timed out', time.monotonic() - begin, note)
    lines = log.read_text(errors='replace').strip().splitlines()
    note = lines[-1] if len(lines) > 1 else ''
    return Outcome(part.name, 'failed' if code else 'passed', time.monotonic() - begin, note)


def steps(all_parts: Sequence[Part]) -> list[list[Part]]:
    """Parts that run side by side, step by step."""
    kinds = itertools.groupby(
        enumerate(all_parts), lambda each: each[0] if each[1].needed or each[1].measures else -1
    )
    return [[part for _, part in group] for _, group in kinds]


def run_parts(all_parts: Sequence[Part], out: Path) -> list[Outcome]:
    """Runs them; writes the results after each step, so that none is lost."""
    out.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    stopped = ''
    for step in steps(all_parts):
        for part in step:
            if not stopped:
                sys.stderr.write(f'{part.name}: at most {part.seconds:g} s\n')
        if stopped:
            outcomes += [
                Outcome(part.name, 'left out', 0, f'{stopped} did not pass') for part in step
            ]
        else:
            logs = [out / f'{part.name.replace(" ", "-")}.log' for part in step]
            with ThreadPoolExecutor(len(step)) as pool:
                outcomes += pool.map(run_part, step, [out] * len(step), logs)
        if step[0].needed and outcomes[-1].verdict != 'passed':
            stopped = step[0].name
        (out / 'results.md').write_text(table(outcomes) + '\n')
        (out / 'results.json').write_text(
            json.dumps([asdict(each) for each in outcomes], indent=1) + '\n'
        )
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each part, in Markdown."""
    rows = [('part', 'verdict', 's', 'last line'), ('---',) * 4]
    rows += [(o.name, o.verdict, f'{o.seconds:.0f}', o.note.replace('|', '\\|')) for o in outcomes]
    # By hand: prettytable may not be there.
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def architecture() -> str:
    """Of the GPU that torch sees.

    Raises:
        UsageError: it sees none.
    """
    import torch

    if not torch.cuda.is_available():
        raise UsageError(
            f'expected a GPU that torch sees, got none (torch {torch.__version__}); --dry-run '
            'shows what would run, `make cuda-check` checks what needs no GPU'
        )
    major, minor = torch.cuda.get_device_capability()
    return f'{major}.{minor}'


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__, examples=['python dev/gpu_check.py --out gpu-results'])
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(os.environ.get('OUT', 'work_dirs/gpu_check')),
        help='folder for results and logs; by default the variable OUT, or this',
    )
    parser.add_argument(
        '--dry-run', action='store_true', help='show the parts and what they lack, run none'
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.dry_run:
        for part in parts('native'):
            lacking = part.missing()
            print(
                f'{part.name}: {" ".join(part.command)} (at most {part.seconds:g} s'
                f'{f"; not here: {lacking}" if lacking else ""})'
            )
        return 0
    outcomes = run_parts(parts(architecture()), args.out.resolve())
    print(table(outcomes))
    return int(any(o.verdict in ('failed', 'timed out', 'left out') for o in outcomes))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
