"""Swaps every config that mmsegmentation ships and runs what comes out: python tools/check_zoo.py

Runs each different model in a process of its own; models that differ only in class count,
preprocessor or initialisation count as one. Does the original predict and train on a small image?
Does `swap_heads` refuse it? If not, does the written config load? Does the new model take the
original's weights, predict, and train with finite losses and gradients in every parameter of DDF?
Results go to --out, one line of JSON each; models with a result there are not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__, examples=['python tools/check_zoo.py pspnet upernet --out zoo.jsonl']
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
    from rich.progress import Progress
    from zoo_check import checking

    configs = checking.select(checking.find_configs(), args.configs)
    console = Console(stderr=True)
    with console.status(f'Reading {len(configs)} configs'):
        groups = checking.group_models(configs)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    known = {}
    if args.out.exists():
        lines = args.out.read_text().splitlines()
        known = {line['config']: checking.Result(**line) for line in map(json.loads, lines)}
    with open(args.out, 'a') as file, Progress(console=console) as progress:
        for config in progress.track(groups, description='Checking'):
            if config not in known:
                known[config] = checking.check_isolated(config, args.limit, args.threads)
                file.write(json.dumps(asdict(known[config])) + '\n')
                file.flush()
    results = [known[config] for config in groups]
    print(checking.report(results, groups))
    return int(any(result.outcome == 'failed' for result in results))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
