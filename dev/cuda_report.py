"""What nvcc makes of the CUDA kernels: python dev/cuda_report.py [--architectures 8.0 9.0 …]

Compiles them with warnings as errors and prints, for each kernel, element type and architecture,
registers, spills and the occupancy that follows; looks into the machine code (cuobjdump, where it
is found) for 128-bit loads and local memory; compares with dev/cuda_baseline.json. Fails if a
specialised kernel (kernel size 3 or 5) spills or has a stack frame, if a kernel needs more
registers than the baseline says, or if loads are narrower than they should be. Needs no GPU.
"""

from __future__ import annotations

import argparse
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
from dataclasses import dataclass
from pathlib import Path

from ddf_seg.command_line import ToolParser, markdown_table, show_usage_errors

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'ops/kernels/cuda/kernels.cu'
BASELINE = ROOT / 'dev/cuda_baseline.json'
# As ops/kernels/problem.h lists them
DTYPES = tuple(re.findall(r'X\((\w+), \w+\)', (ROOT / 'ops/kernels/problem.h').read_text()))
ARCHITECTURES = ('7.5', '8.0', '8.6', '8.9', '9.0', '10.0', '12.0')
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
# ddf::cuda::NAME<E[, int kKernel][, bool kMultiply]>(Work)
SYMBOL = re.compile(
    r'_ZN3ddf4cuda\d+(?P<name>[a-z_]+)I(?:[fd]|\d+[_a-z0-9]+?)'
    r'(?:Li(?P<kernel>\d)E)?(?:Lb(?P<multiply>[01])E)?EEvNS0_4WorkE'
)


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


def readable(symbol: str) -> tuple[str, bool]:
    """'filter_pixel<3, mul>' and whether its kernel size is fixed."""
    match = SYMBOL.fullmatch(symbol)
    if match is None:
        raise ValueError(f'{symbol}: expected a kernel of ddf::cuda')
    arguments = []
    if match['kernel'] is not None:
        arguments.append(match['kernel'] if match['kernel'] != '0' else 'any')
    if match['multiply'] is not None:
        arguments.append('mul' if match['multiply'] == '1' else 'add')
    name = match['name'] + (f'<{", ".join(arguments)}>' if arguments else '')
    return name, match['kernel'] not in (None, '0')


def compile_kernels(nvcc: Path, dtype: str, architectures: Iterable[str], target: Path) -> str:
    """ptxas's report; the object file goes to `target`."""
    numbers = [a.replace('.', '') for a in architectures]
    command = [
        *(str(nvcc), '-std=c++17', '-O3', '--Werror=all-warnings', '-Xptxas=-v'),
        *(f'-gencode=arch=compute_{n},code=sm_{n}' for n in numbers),
        *(f'-DDDF_DTYPE={dtype}', '-c', str(SOURCE), '-o', str(target)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f'nvcc failed for {dtype}:\n{done.stdout}{done.stderr}')
    return done.stdout + done.stderr


def read_report(report: str, dtype: str) -> Iterator[Kernel]:
    """The kernels that ptxas reports on."""
    for match in PTXAS.finditer(report):
        name, specialised = readable(match['symbol'])
        yield Kernel(
            architecture=f'{match["arch"][:-1]}.{match["arch"][-1]}',
            dtype=dtype,
            name=name,
            registers=int(match['registers']),
            stack=int(match['stack']),
            spills=int(match['stores']) + int(match['loads']),
            specialised=specialised,
        )


def sass_faults(cuobjdump: Path, objects: dict[str, Path]) -> Iterator[str]:
    """What the machine code should not have, or lacks."""
    for dtype, path in objects.items():
        done = subprocess.run(
            [cuobjdump, '-sass', str(path)], capture_output=True, text=True, check=True
        )
        architecture = '?'
        for part in re.split(r'\n(?=\s*(?:Function|code for sm_\w+)\b)', done.stdout):
            head = re.match(r'\s*code for sm_(\w+)', part)
            if head is not None:
                architecture = head[1]
            function = re.match(r'\s*Function : (\w+)', part)
            if function is None:
                continue
            name, specialised = readable(function[1])
            where = f'sm_{architecture} {dtype} {name}'
            if specialised and re.search(r'\b(LDL|STL)\b', part):
                yield f'{where}: local memory in the machine code'
            # Where 16 bytes of elements leave a thread with few enough weights (element.cuh).
            wide = name.startswith(('filter_pixel_vectors<3', 'filter_channel_vectors<3')) or (
                dtype == 'float64' and '_vectors' in name
            )
            wide = wide or (dtype == 'float32' and name.startswith('filter_pixel_vectors'))
            for instruction in ('LDG', 'STG'):
                if wide and not re.search(rf'\b{instruction}\.[\w.]*128\b', part):
                    yield f'{where}: no 128-bit {instruction}'


def faults(kernels: list[Kernel], baseline: dict[str, int]) -> Iterator[str]:
    """Spills, stack frames, and what differs from the baseline for the worse."""
    for kernel in kernels:
        if kernel.specialised and (kernel.spills or kernel.stack):
            yield f'{kernel.key}: {kernel.spills} bytes spilled, stack frame of {kernel.stack}'
        before = baseline.get(kernel.key)
        if before is None:
            yield f'{kernel.key}: not in {BASELINE.name}; --update writes it'
        elif kernel.registers > before:
            yield f'{kernel.key}: {kernel.registers} registers, {before} in {BASELINE.name}'


def table(kernels: list[Kernel]) -> str:
    """Registers and occupancy per architecture, in Markdown."""
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
            texts.append(f'{kernel.registers} ({kernel.occupancy:.0%}){spill}')
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
        objects = {dtype: Path(folder) / f'{dtype}.o' for dtype in args.dtypes}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            reports = list(
                pool.map(
                    lambda item: compile_kernels(nvcc, item[0], args.architectures, item[1]),
                    objects.items(),
                )
            )
        kernels = [
            k for dtype, r in zip(objects, reports, strict=True) for k in read_report(r, dtype)
        ]
        cuobjdump = find_tool('cuobjdump')
        found = list(sass_faults(cuobjdump, objects)) if cuobjdump is not None else []
    sys.stdout.write('Registers of a thread (occupancy that they allow):\n\n')
    sys.stdout.write(
        f'{table(kernels)}\n\n{len(kernels)} kernels, no warnings; machine code '
        + ('looked into.\n' if cuobjdump is not None else 'not looked into: no cuobjdump.\n')
    )
    baseline: dict[str, int] = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    if args.update:
        baseline.update({kernel.key: kernel.registers for kernel in kernels})
        BASELINE.write_text(json.dumps(baseline, indent=0, sort_keys=True) + '\n')
    found += faults(kernels, baseline)
    sys.stderr.writelines(f'error: {line}\n' for line in found)
    return int(bool(found))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
