"""Enlarges depth maps of drawn scenes: joint DDF-Up beside interpolation and a bilateral filter.

The paper's experiment on depth at a size that one core trains in minutes. docs/depth.md says what
the rows are, and what came out. `ddf-seg scenes --depth` draws the data.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, count, say, show_usage_errors

ROOT = Path(__file__).parents[1]


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            "python benchmarks/depth_upsampling.py run bilinear 'DDF-Up' --factors 8 --seeds 0 1",
            'python benchmarks/depth_upsampling.py table',
        ],
    )
    commands = parser.add_subparsers(dest='command', required=True)
    common = ToolParser(add_help=False)
    common.add_argument(
        '--results', type=Path, default=ROOT / 'docs/depth/runs', help='folder with the results'
    )
    run = commands.add_parser(
        'run', help='train and score rows; goes on where it stopped', parents=[common]
    )
    run.add_argument('rows', nargs='*', metavar='ROW', help='see the page (default: all)')
    run.add_argument('--factors', nargs='+', type=int, default=[4, 8, 16], help='how many times')
    run.add_argument(
        '--seeds', nargs='+', type=int, default=[0], help='of the start and the order of images'
    )
    run.add_argument('--iterations', type=count, help="of a training (default: the config's)")
    run.add_argument(
        '--config',
        default=str(ROOT / 'configs/depth_upsampling/ddf_x8_scenes.py'),
        help='with the data and the training',
    )
    show = commands.add_parser('table', help='compare the rows', parents=[common])
    show.add_argument('--to', default='joint bilateral', help='row to compare with')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    import torch

    from ddf_benchmarks.depth.comparison import read_result, read_rows, table
    from ddf_benchmarks.depth.methods import FIXED, TRAINED
    from ddf_benchmarks.depth.running import Run, run_row
    from ddf_benchmarks.runs import check_length
    from ddf_seg.engine.config_file import read_config
    from ddf_seg.errors import UsageError

    if args.command == 'table':
        print(table(read_rows(args.results), args.to))
        return 0
    known = (*FIXED, *TRAINED)
    if unknown := [row for row in args.rows if row not in known]:
        raise UsageError(f'ROW: expected some of {", ".join(known)}, got {unknown[0]}')
    cfg = read_config(args.config, None)
    if args.iterations:
        cfg.train_cfg.max_iters = cfg.param_scheduler.end = args.iterations
    torch.set_num_threads(1)
    for seed in args.seeds:
        for factor in args.factors:
            for row in args.rows or known:
                # Nothing is drawn at random for what is not trained.
                run = Run(row, factor, 0 if row in FIXED else seed)
                if (file := run.file(args.results)).exists():
                    length = 0 if row in FIXED else cfg.train_cfg.max_iters
                    check_length(file, read_result(file)['iterations'], length)
                    continue
                run_row(cfg, run, args.results)
                say(f'{row}, ×{factor}, seed {run.seed}: {run.file(args.results)}')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
