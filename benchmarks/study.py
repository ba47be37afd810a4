"""Trains decoders that differ only in their upsampling, and compares them.

The rows are the configs in configs/study/; docs/study.md says what they are and what came out.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ddf_benchmarks.upsampling_study import SPLITS
from ddf_seg.command_line import ToolParser, show_usage_errors

RESULTS = Path(__file__).parents[1] / 'docs' / 'study'


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/study.py run ddf --seed 0   # also goes on with an interrupted run',
            'python benchmarks/study.py table              # all results, and the differences',
            'python benchmarks/study.py time               # of each network for an image',
            'python benchmarks/study.py plot out.png       # the differences as a picture',
        ],
    )
    commands = parser.add_subparsers(dest='command', required=True)
    common = ToolParser(add_help=False)
    common.add_argument(
        '--results', type=Path, default=RESULTS / 'runs', help='folder with the results'
    )
    common.add_argument(
        '--split', choices=SPLITS, default='camvid', help='drives: train and val share no drive'
    )
    train = commands.add_parser('run', help='train and score a row', parents=[common])
    train.add_argument('row', help='name of a config in configs/study/')
    train.add_argument(
        '--seed', type=int, required=True, help='seed of initialisation, order and augmentation'
    )
    train.add_argument(
        '--work-dirs', type=Path, default=Path('work_dirs/study'),
        help='folder for checkpoints and logs',
    )  # fmt: skip
    file = RESULTS / 'times.json'
    compared = ToolParser(add_help=False)
    compared.add_argument('--to', default='bilinear', help='row to compare with')
    times: dict[str, Any] = dict(type=Path, default=file, help='file with the measured times')
    show = commands.add_parser('table', help='compare the rows', parents=[common, compared])
    show.add_argument('--times', **times)
    picture = commands.add_parser('plot', help='draw the differences', parents=[common, compared])
    picture.add_argument('out', type=Path, help='picture to write')
    measure = commands.add_parser('time', help="measure the networks' time for an image")
    measure.add_argument('--rows', nargs='+', help='default: all')
    measure.add_argument('--seconds', type=float, default=60, help='how long to measure')
    measure.add_argument('--times', **times)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ddf_benchmarks.upsampling_study import comparison
    from ddf_benchmarks.upsampling_study.plot import plot
    from ddf_benchmarks.upsampling_study.runs import rows, run
    from ddf_benchmarks.upsampling_study.timing import time_rows

    if args.command == 'run':
        print(run(args.row, args.seed, args.split, args.work_dirs, args.results))
    elif args.command == 'time':
        times = time_rows(args.rows or rows(), args.seconds)
        args.times.write_text(json.dumps(times, indent=1) + '\n')
        print(args.times.read_text(), end='')
    elif args.command == 'plot':
        plot(comparison.read_rows(args.results, args.split), args.to, args.out)
    else:
        measured: dict[str, Any] = {}
        if args.times.is_file():
            measured = json.loads(args.times.read_text())['milliseconds']
        found = comparison.read_rows(args.results, args.split)
        print(comparison.table(found, args.to, measured))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
