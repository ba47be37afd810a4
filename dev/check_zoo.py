"""Swaps every config that mmsegmentation ships and runs what comes out: python dev/check_zoo.py

Runs each different model in a process of its own; models that differ only in class count,
preprocessor or initialisation count as one. Does the original predict and train on a small image?
Does `swap_heads` refuse it? If not, does the written config load? Does the new model take the
original's weights, compute the same class scores where it should, predict, and train with finite
losses and, after a step, gradients in every parameter of DDF? Results go to --out, one line of JSON
each; models with a result there are not run again.

With --export: does the original run as ONNX, does its DDF counterpart, and do both give PyTorch's
scores within 1e-4 of their range in ONNX Runtime? Prints docs/deployment.md's table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python dev/check_zoo.py pspnet upernet --out zoo.jsonl',
            'python dev/check_zoo.py --export      # one model of each head',
        ],
    )
    parser.add_argument(
        'configs', nargs='*',
        help='configs or families (fcn, fcn/fcn_r50-d8_….py); default: all; with --export, one '
        'for each head',
    )  # fmt: skip
    parser.add_argument(
        '--export', action='store_true', help='export the models, in place of training them'
    )
    parser.add_argument(
        '--out', type=Path, metavar='FILE',
        help='file with the results (default: work_dirs/zoo.jsonl, or work_dirs/zoo_export.jsonl)',
    )  # fmt: skip
    parser.add_argument('--limit', type=float, default=900, help='seconds for one model')
    parser.add_argument('--threads', type=int, default=1, help='threads for one model')
    args = parser.parse_args()
    args.out = args.out or Path('work_dirs', 'zoo_export.jsonl' if args.export else 'zoo.jsonl')
    return args


def main() -> int:
    args = parse_args()
    from rich.console import Console

    from zoo_check.exporting import SAMPLE
    from zoo_check.models import find_configs, group_models, select
    from zoo_check.report import export_report, report
    from zoo_check.running import check_all

    configs = select(find_configs(), args.configs)
    console = Console(stderr=True)
    if args.export:
        sample = configs if args.configs else list(SAMPLE)
        print(export_report(check_all(True, sample, args.out, args.limit, args.threads, console)))
        return 0
    with console.status(f'Reading {len(configs)} configs'):
        groups = group_models(configs)
    results = check_all(False, groups, args.out, args.limit, args.threads, console)
    print(report(results, groups))
    return int(any(result.outcome == 'failed' for result in results))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
