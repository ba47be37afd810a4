"""Times the compiled DDF operators side by side with their baselines: python tools/benchmark_op.py

Everything in a row is measured in turns in one run, and is the median of its repeats; what computes
the same is first asserted to. The floor is the longer of two times: that of a copy of as many bytes
as the operator must read and write, and that of its multiply-adds at the rate of torch's matrix
product. Writes Markdown tables to stdout and progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from op_benchmark import layers, operators
from op_benchmark.cases import SHAPES, UPSAMPLE_SHAPE, Case
from op_benchmark.measure import Ceilings, Settings, machine, measure_ceilings
from op_benchmark.report import Row, Table, summary

from ddf_seg.ops import native

SECTIONS = {
    'forward': 'nn.functional.conv2d with groups = C beside it; nchw: contiguous, nhwc: '
    'channels_last; large: the float32 feature map fills the last-level cache.',
    'backward': "All three gradients; beside it aten's convolution_backward of the depthwise "
    'convolution.',
    'upsample': 'ddf_upsample, scale factor 2, a channel filter for each phase.',
    'threads': 'float32, kernel size 3.',
    'memory': 'What a call allocates at its peak beyond inputs and result (float32, kernel size '
    '3), beside the formula by torch.nn.functional.unfold.',
    'layers': 'float32, contiguous; forward + backward: gradients of input and parameters.',
}
DTYPES = {'float32': torch.float32, 'bfloat16': torch.bfloat16}
QUICK_SHAPES = ((1, 16, 12, 20), (8, 32, 7, 7))
QUICK_UPSAMPLE_SHAPE = (1, 16, 10, 12)


def parse_args() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sections', nargs='+', choices=SECTIONS, default=list(SECTIONS), help='default: all'
    )
    parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=list(DTYPES))
    parser.add_argument(
        '--kernel-sizes', nargs='+', type=int, default=[3, 5], help='forward and backward: 3 5'
    )
    parser.add_argument(
        '--seconds', type=float, default=1.0, help='for each comparison, default: %(default)s'
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='small shapes and few repeats, too few to judge by: does it run at all?',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--json', type=Path, help='also write the results to this file')
    args = parser.parse_args()
    if args.seconds <= 0:
        parser.error(f'--seconds: expected a number above 0, got {args.seconds}')
    for size in args.kernel_sizes:
        if size < 1 or size % 2 == 0:
            parser.error(f'--kernel-sizes: expected odd sizes, got {size}')
    try:
        args.device = torch.device(args.device)
        torch.empty(1, device=args.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition('\n')[0]
        parser.error(f'--device: expected cpu or cuda, where torch has it, got: {reason}')
    if args.device.type == 'cpu' and not native.is_native_available():
        parser.error(f'there is nothing to measure, the operators run in {native.load("cpu")}')
    if args.json is not None and not args.json.parent.is_dir():
        parser.error(f'--json: expected a file in an existing folder, got {args.json}')
    return args


def section_rows(
    name: str, args: argparse.Namespace, settings: Settings, ceilings: Ceilings
) -> Iterator[Row]:
    """Measures a section, row by row."""
    shapes = QUICK_SHAPES if args.quick else SHAPES
    dtypes = [DTYPES[dtype] for dtype in args.dtypes]
    upsample_shape = QUICK_UPSAMPLE_SHAPE if args.quick else UPSAMPLE_SHAPE
    first = [Case(shape, torch.float32, settings.device) for shape in shapes]
    upsampled = operators.upsample_cases(settings, upsample_shape, [torch.float32])[:1]
    if name in ('forward', 'backward'):
        cases = [
            Case(shape, dtype, settings.device, kernel_size)
            for kernel_size in args.kernel_sizes
            for dtype in dtypes
            for shape in shapes
        ]
        return operators.depthwise_rows(settings, ceilings, cases, name == 'backward')
    if name == 'upsample':
        cases = operators.upsample_cases(settings, upsample_shape, dtypes)
        return operators.upsample_rows(settings, ceilings, cases)
    rows: dict[str, Callable[[], Iterator[Row]]] = {
        'threads': lambda: operators.thread_rows(settings, ceilings, first + upsampled),
        'memory': lambda: operators.memory_rows(settings, first[:2] + upsampled),
        'layers': lambda: layers.layer_rows(settings, args.quick),
    }
    return rows[name]()


def measure(args: argparse.Namespace) -> tuple[dict[str, Any], list[Table]]:
    """The circumstances, and a table for each section."""
    settings = Settings(args.device, 0.02 if args.quick else args.seconds, torch.get_num_threads())
    sys.stderr.write('ceilings …\n')
    ceilings = measure_ceilings(settings)
    circumstances = {
        'machine': machine(settings.device),
        'threads': settings.threads,
        'torch': torch.__version__,
        'operators': str(native.load('cpu')),
        **asdict(ceilings),
    }
    tables = []
    for name in args.sections:
        rows = []
        if name == 'threads' and (settings.threads < 2 or settings.device.type != 'cpu'):
            sys.stderr.write('note: threads is left out: it needs two threads on a CPU\n')
            continue
        for row in section_rows(name, args, settings, ceilings):
            if args.quick:
                row = Row(row.cells)
            rows.append(row)
            what = ' '.join(each for each in row.cells.values() if isinstance(each, str))
            verdicts = '; '.join(map(str, row.checks))
            sys.stderr.write(f'{name}: {what}: {verdicts}\n')
        tables.append(Table(name, SECTIONS[name], rows))
    return circumstances, tables


def main() -> int:
    args = parse_args()
    with torch.no_grad():
        circumstances, tables = measure(args)
    print(
        f'{circumstances["machine"]}, {circumstances["threads"]} threads, torch '
        f'{circumstances["torch"]}, operators: {circumstances["operators"]}; measured ceilings: '
        f'{circumstances["fma_rate"] / 1e9:.0f} G multiply-adds/s, copy '
        f'{circumstances["bandwidth"] / 1e9:.1f} GB/s; last-level cache '
        f'{circumstances["cache"] >> 20} MiB\n'
    )
    for table in tables:
        print(table.markdown())
    if not args.quick:
        print(summary(tables))
    if args.json is not None:
        results = {**circumstances, 'sections': [table.json() for table in tables]}
        args.json.write_text(json.dumps(results, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
