"""What nvcc makes of the CUDA kernels: python dev/cuda_report.py [--architectures 8.0 9.0 …]

Compiles them with warnings as errors. Prints, for each kernel, element type and architecture,
registers and the occupancy that follows; and from the machine code (cuobjdump, where it is found)
the instructions of its innermost loop for each element: of the output, or of the features for their
gradient. Compares both with dev/cuda_baseline.json. Fails if a specialised kernel (kernel size 3 or
5) spills more than SPILLS allows, has a stack frame or a branch in its innermost loop, if a kernel
needs more registers or instructions than the baseline says, or if loads are narrower than they
should be. Needs no GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from cuda_sass import Function, disassemble
from ddf_seg.command_line import ToolParser, markdown_table, show_usage_errors
from ddf_seg.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = tuple(sorted((ROOT / 'ops/kernels/cuda').glob('*.cu')))
BASELINE = ROOT / 'dev/cuda_baseline.json'
# As ops/kernels/problem.h lists them
DTYPES = tuple(re.findall(r'X\((\w+), \w+\)', (ROOT / 'ops/kernels/problem.h').read_text()))
ARCHITECTURES = ('7.5', '8.0', '8.6', '8.9', '9.0', '10.0', '12.0')
# Of the baseline: registers and instructions on the others follow these.
BASELINE_ARCHITECTURES = ('9.0',)
THREADS = 128  # of a block: kThreads in ops/kernels/cuda/work.cuh
REGISTERS = 65536  # of a multiprocessor, on all of these architectures
# Threads of a multiprocessor: "Technical Specifications per Compute Capability" in NVIDIA's CUDA
# programming guide.
RESIDENT_THREADS = {'7.5': 1024, '8.0': 2048, '9.0': 2048, '10.0': 2048}
OTHER_RESIDENT_THREADS = 1536

PTXAS = re.compile(
    r"Compiling entry function '(?P<symbol>\w+)' for 'sm_(?P<arch>\d+)\w?'.*?"
    r'(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, '
    r'(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers',
    re.DOTALL,
)
# ddf::cuda::NAME<E, int kKernel, constants>(Work or another class of that name's end), the last two
# optional
SYMBOL = re.compile(
    r'_ZN3ddf4cuda\d+(?P<name>[a-z_]+)I(?:[fd]|\d+[_a-z0-9]+?)(?P<rest>L.*)?EEvNS0_\d+\w*WorkE'
)
_LOCAL = re.compile(r'\b(LDL|STL)\b')
CONSTANT = re.compile(r'L(?P<kind>[ib]|NS_7CombineE|NS0_7ReadingE)(?P<value>\d+)E')
# ddf::Combine, in the order of its values
COMBINED = ('mul', 'add', 'spatial', 'channel')
# ddf::cuda::Reading (softmax.cuh), likewise
READING = ('rows', 'channels', 'any')
# What the constants of a kernel say: if set, if not.
FLAGS = {
    'filter_rows': (('transposed', ''),),
    'filter_channels': (('transposed', ''),),
    'filter_columns': (('transposed', ''), ('shared', 'any')),
    'grad_columns': (('mul', 'add'), ('shared', 'any')),
    'grad_channels': (('mul', 'add'), ('shared', 'any')),
    'norm_filter': (('learned', ''),),
    'norm_gradient': (('learned', ''),),
}
# Spills outside of the innermost loop that stand: at most so many bytes stored and loaded, and why.
SPILLS: dict[str, tuple[int, str]] = {
    '10.0 float64 softmax_gradient<5, channels>': (
        156,
        '25 taps, 25 gradients and as many loads under way fill 255 registers; comparing one row '
        'of taps at a time changes nothing',
    ),
}
# Kernels for one kernel size alone.
SIZE_3 = ('upsample', 'upsample_transposed', 'stride_transposed')


@dataclass(frozen=True, order=True)
class Kernel:
    """One instantiation on one architecture, and what ptxas says of it."""

    architecture: str
    dtype: str
    name: str
    registers: int
    stack: int
    spills: int  # bytes stored and loaded
    specialised: bool
    instructions: float = 0  # for each element, of the innermost loop; 0: not known

    @property
    def key(self) -> str:
        return f'{self.architecture} {self.dtype} {self.name}'

    @property
    def occupancy(self) -> float:
        """Resident threads over the most possible, as far as registers limit them."""
        most = RESIDENT_THREADS.get(self.architecture, OTHER_RESIDENT_THREADS)
        per_warp = -(-self.registers * 32 // 256) * 256  # allocated 256 at a time
        blocks = REGISTERS // (per_warp * THREADS // 32)
        return min(blocks * THREADS, most) / most


def find_tool(name: str) -> Path | None:
    """A program of the CUDA toolkit: in CUDA_HOME, on the PATH, or in this Python's packages."""
    home = os.environ.get('CUDA_HOME')
    if home and (Path(home) / 'bin' / name).is_file():
        return Path(home) / 'bin' / name
    found = shutil.which(name)
    if found:
        return Path(found)
    packages = Path(sysconfig.get_path('purelib')) / 'nvidia'
    return next(packages.glob(f'*/bin/{name}'), None)


def readable(symbol: str) -> tuple[str, int]:
    """'filter_rows<3, mul, transposed, 4>' and its kernel size if that is fixed, else 0."""
    match = SYMBOL.fullmatch(symbol)
    if match is None:
        raise ValueError(f'{symbol}: expected a kernel of ddf::cuda')
    name = match['name']
    constants = list(CONSTANT.finditer(match['rest'] or ''))
    numbers = [int(c['value']) for c in constants if c['kind'] == 'i']
    flags = [c['value'] == '1' for c in constants if c['kind'] == 'b']
    size = 3 if name in SIZE_3 else numbers[0] if numbers else 0
    parts = [str(size)] if size else []
    parts += [COMBINED[int(c['value'])] for c in constants if 'Combine' in c['kind']]
    parts += [READING[int(c['value'])] for c in constants if 'Reading' in c['kind']]
    meanings = FLAGS.get(name, (('mul', 'add'),)) if flags else ()
    parts += [names[not flag] for flag, names in zip(flags, meanings, strict=True)]
    parts += [str(n) for n in numbers[1:]]
    return name + (f'<{", ".join(filter(None, parts))}>' if parts else ''), size


def instructions_each(function: Function) -> float:
    """Instructions of the main loop for each element; 0 without such a loop.

    A filter has a fused multiply-add for each tap, the gradients of both filters have two; so has
    the softmax, for each channel of the query. A kernel for any size handles one tap at a time: its
    instructions are for each element and tap. Those of FilterNorm are for each filter.
    """
    name, size = readable(function.symbol)
    loop = function.main_loop
    if loop is None:
        return 0
    taps = size**2 or 1
    if name.startswith('filter_channels'):  # a row of taps is a pass of its loop, on some
        return len(loop.instructions) * size / (round(loop.multiply_adds / size) or 1)
    elements = max(
        1, round(loop.multiply_adds / (2 * taps if name.startswith('grad_c') and size else taps))
    )
    if name.startswith('norm') and size:
        elements = 1
    if name.startswith('stride'):
        elements *= 4  # taps are shared out among 2 x 2 pixels
    return len(loop.instructions) / elements


def compile_kernels(
    nvcc: Path, architectures: Iterable[str], source: Path, dtype: str, target: Path
) -> str:
    """ptxas's report; the object file goes to `target`."""
    numbers = [a.replace('.', '') for a in architectures]
    command = [
        *(str(nvcc), '-std=c++17', '-O3', '--Werror=all-warnings', '-Xptxas=-v'),
        *(f'-gencode=arch=compute_{n},code=sm_{n}' for n in numbers),
        *(f'-DDDF_DTYPE={dtype}', '-c', str(source), '-o', str(target)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'nvcc failed for {source.name}, {dtype}:\n{done.stdout}{done.stderr}')
    return done.stdout + done.stderr


def read_report(report: str, dtype: str) -> Iterator[Kernel]:
    """The kernels that ptxas reports on."""
    for match in PTXAS.finditer(report):
        name, size = readable(match['symbol'])
        yield Kernel(
            architecture=f'{match["arch"][:-1]}.{match["arch"][-1]}',
            dtype=dtype,
            name=name,
            registers=int(match['registers']),
            stack=int(match['stack']),
            spills=int(match['stores']) + int(match['loads']),
            specialised=size > 0,
        )


def sass_faults(function: Function, dtype: str) -> Iterator[str]:
    """What the machine code should not have, or lacks."""
    name, size = readable(function.symbol)
    where = f'{function.architecture} {dtype} {name}'
    loop = function.main_loop
    if size and loop is not None and any(_LOCAL.search(text) for text in loop.instructions):
        yield f'{where}: local memory in the innermost loop'
    elif size and where not in SPILLS and function.has(_LOCAL.pattern):
        yield f'{where}: local memory in the machine code'
    # A square root and a quotient of float64 have branches, which ordinary numbers do not take.
    branches_belong = name.startswith('norm') and dtype == 'float64'
    if size and loop is not None and loop.branches and not branches_belong:
        yield f'{where}: branches in the innermost loop: {"; ".join(loop.branches)}'
    # Where a thread has 16 bytes of a row, or of the channels of a pixel.
    vector = re.match(r'filter_rows<.*, (\d)>', name)
    bytes_each = {'float64': 8, 'float32': 4}.get(dtype, 2)
    wide = int(vector[1]) * bytes_each == 16 if vector else False
    wide = wide or (name.startswith('filter_channels') and bytes_each > 2)
    for instruction in ('LDG', 'STG'):
        if wide and not function.has(rf'\b{instruction}\.[\w.]*128\b'):
            yield f'{where}: no 128-bit {instruction}'


def faults(kernels: list[Kernel], baseline: dict[str, list[float]]) -> Iterator[str]:
    """Spills, stack frames, and what differs from the baseline for the worse."""
    for kernel in kernels:
        allowed, _ = SPILLS.get(kernel.key, (0, ''))
        if kernel.specialised and (kernel.spills > allowed or (kernel.stack and not allowed)):
            yield f'{kernel.key}: {kernel.spills} bytes spilled, stack frame of {kernel.stack}'
        if kernel.architecture not in BASELINE_ARCHITECTURES:
            continue
        before = baseline.get(kernel.key)
        if before is None:
            yield f'{kernel.key}: not in {BASELINE.name}; --update writes it'
            continue
        registers, instructions = before
        if kernel.registers > registers:
            yield f'{kernel.key}: {kernel.registers} registers, {registers} in {BASELINE.name}'
        if kernel.instructions > instructions:
            yield (
                f'{kernel.key}: {kernel.instructions} instructions an element, {instructions} in '
                f'{BASELINE.name}'
            )


def table(kernels: list[Kernel]) -> str:
    """Instructions, registers and occupancy per architecture, in Markdown."""
    columns = sorted({k.architecture for k in kernels}, key=float)
    rows: dict[tuple[str, str], dict[str, Kernel]] = {}
    for kernel in sorted(kernels, key=lambda k: (k.name, DTYPES.index(k.dtype))):
        rows.setdefault((kernel.name, kernel.dtype), {})[kernel.architecture] = kernel
    lines = []
    for names, cells in rows.items():
        texts = []
        for architecture in columns:
            kernel = cells[architecture]
            spill = f' spills {kernel.spills} B' if kernel.spills else ''
            count = f'{kernel.instructions:g}; ' if kernel.instructions else ''
            texts.append(f'{count}{kernel.registers} ({kernel.occupancy:.0%}){spill}')
        lines.append([*names, *texts])
    return markdown_table(['kernel', 'type', *(f'sm {a}' for a in columns)], lines)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=['python dev/cuda_report.py --architectures 8.0 9.0 --dtypes float32'],
    )
    parser.add_argument(
        '--architectures', nargs='+', choices=ARCHITECTURES, default=list(ARCHITECTURES),
        help='architectures to compile for',
    )  # fmt: skip
    parser.add_argument(
        '--dtypes', nargs='+', choices=DTYPES, default=list(DTYPES), help='element types'
    )
    parser.add_argument('--update', action='store_true', help='write a new baseline')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    nvcc = find_tool('nvcc')
    if nvcc is None:
        sys.stderr.write('error: no nvcc, neither in CUDA_HOME nor on the PATH\n')
        return 1
    with tempfile.TemporaryDirectory() as folder:
        jobs = [
            (source, dtype, Path(folder) / f'{source.stem}-{dtype}.o')
            for source, dtype in itertools.product(SOURCES, args.dtypes)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            reports = list(
                pool.map(lambda job: compile_kernels(nvcc, args.architectures, *job), jobs)
            )
        kernels = [k for job, r in zip(jobs, reports, strict=True) for k in read_report(r, job[1])]
        found: list[str] = []
        cuobjdump = find_tool('cuobjdump')
        if cuobjdump is not None:
            counts = {}
            for _, dtype, compiled in jobs:
                for function in disassemble(cuobjdump, compiled):
                    key = f'{function.architecture} {dtype} {readable(function.symbol)[0]}'
                    counts[key] = round(instructions_each(function), 1)
                    found += sass_faults(function, dtype)
            kernels = [replace(k, instructions=counts[k.key]) for k in kernels]
        size = sum(path.stat().st_size for *_, path in jobs)
    head = 'Instructions an element of the innermost loop; registers of a thread (occupancy):'
    sys.stdout.write(
        f'{head}\n\n{table(kernels)}\n\n{len(kernels)} kernels, {size / 2**20:.1f} MiB, no '
        f'warnings; machine code {"" if cuobjdump else "not "}looked into'
        f'{"" if cuobjdump else ": no cuobjdump"}.\n'
    )
    for kernel in kernels:
        if kernel.spills and kernel.key in SPILLS:
            sys.stdout.write(f'{kernel.key}: {kernel.spills} B: {SPILLS[kernel.key][1]}.\n')
    baseline: dict[str, list[float]] = (
        json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    )
    if args.update:
        if cuobjdump is None:
            raise UsageError('--update: the baseline has instructions, too: cuobjdump is missing')
        kept = [k for k in kernels if k.architecture in BASELINE_ARCHITECTURES]
        whole = set(args.dtypes) == set(DTYPES)
        whole = whole and set(args.architectures) >= set(BASELINE_ARCHITECTURES)
        baseline = {} if whole else baseline
        baseline.update({k.key: [k.registers, k.instructions] for k in kept})
        # A line for each kernel.
        lines = ',\n'.join(f'{json.dumps(k)}: {json.dumps(v)}' for k, v in sorted(baseline.items()))
        BASELINE.write_text(f'{{\n{lines}\n}}\n')
    found += faults(kernels, baseline)
    sys.stderr.writelines(f'error: {line}\n' for line in found)
    return int(bool(found))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
