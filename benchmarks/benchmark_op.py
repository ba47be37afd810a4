"""Times the compiled DDF operators beside their baselines: python benchmarks/benchmark_op.py

The contestants of a row take turns in one run; each time is the median of its repeats. Those that
should compute the same are first checked to do so. The floor is the longer of two times: to copy as
many bytes as the operator must read and write, and to do its multiply-adds at the rate of torch's
matrix product. Writes Markdown tables to stdout and progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ddf_benchmarks.op_benchmark import DTYPES, SECTIONS
from ddf_seg.command_line import ToolParser, show_usage_errors


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=['python benchmarks/benchmark_op.py --sections forward backward --seconds 3'],
    )
    parser.add_argument(
        '--sections', nargs='+', choices=SECTIONS, default=list(SECTIONS), help='what to measure'
    )
    parser.add_argument(
        '--dtypes', nargs='+', choices=DTYPES, default=list(DTYPES), help='element types'
    )
    parser.add_argument(
        '--kernel-sizes', nargs='+', type=int, default=[3, 5], metavar='N',
        help='kernel sizes for forward and backward',
    )  # fmt: skip
    parser.add_argument('--seconds', type=float, default=1.0, help='time for each comparison')
    parser.add_argument(
        '--quick',
        action='store_true',
        help='small shapes and few repeats: shows that it runs, not how fast',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--json', type=Path, help='also write the results to this file')
    args = parser.parse_args()
    if args.seconds <= 0:
        parser.error(f'--seconds: expected a number above 0, got {args.seconds}')
    for size in args.kernel_sizes:
        if size < 1 or size % 2 == 0:
            parser.error(f'--kernel-sizes: expected odd sizes, got {size}')
    if args.json is not None and not args.json.parent.is_dir():
        parser.error(f'--json: expected a file in an existing folder, got {args.json}')
    from ddf_benchmarks.measure import device_named
    from ddf_seg.errors import UsageError
    from ddf_seg.ops import native

    try:
        args.device = device_named(args.device)
    except UsageError as error:
        parser.error(str(error))
    if args.device.type == 'cpu' and not native.is_native_available():
        parser.error(f'there is nothing to measure, the operators run in {native.load("cpu")}')
    return args


def main() -> int:
    args = parse_args()
    import torch

    from ddf_benchmarks.measure import Settings
    from ddf_benchmarks.op_benchmark.report import summary
    from ddf_benchmarks.op_benchmark.sections import Request, measure

    seconds = 0.02 if args.quick else args.seconds
    settings = Settings(args.device, seconds, torch.get_num_threads())
    circumstances, tables = measure(
        Request(args.sections, args.dtypes, args.kernel_sizes, settings, args.quick)
    )
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
    sys.exit(show_usage_errors(main))
