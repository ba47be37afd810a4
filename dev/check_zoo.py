"""Swaps every config that mmsegmentation ships and runs what comes out: python dev/check_zoo.py

Runs each different model in a process of its own; models that differ only in class count,
preprocessor or initialisation count as one. Does the original predict and train on a small image?
Does `swap_heads` refuse it? If not, does the written config load? Does the new model take the
original's weights, compute the same class scores where it should, predict, and train with finite
losses and, after a step, gradients in every parameter of DDF? Results go to --out, one line of JSON
each; models with a result there are not run again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__, examples=['python dev/check_zoo.py pspnet upernet --out zoo.jsonl']
    )
    parser.add_argument(
        'configs', nargs='*',
        help='configs or families (fcn, fcn/fcn_r50-d8_….py); default: all',
    )  # fmt: skip
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/zoo.jsonl'), help='file with the results'
    )
    parser.add_argument('--limit', type=float, default=900, help='seconds for one model')
    parser.add_argument('--threads', type=int, default=1, help='threads for one model')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from rich.console import Console

    from zoo_check.models import find_configs, group_models, select
    from zoo_check.report import report
    from zoo_check.running import check_all

    configs = select(find_configs(), args.configs)
    console = Console(stderr=True)
    with console.status(f'Reading {len(configs)} configs'):
        groups = group_models(configs)
    results = check_all(groups, args.out, args.limit, args.threads, console)
    print(report(results, groups))
    return int(any(result.outcome == 'failed' for result in results))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
