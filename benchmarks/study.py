"""Trains decoders on the features of a frozen backbone, and compares their upsampling.

docs/study.md says what the rows are, what was decided before the runs, and what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ddf_seg.command_line import ToolParser, count, show_usage_errors

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).parents[1]
HOSTS = ('segformer', 'fpn', 'stride-8', 'top-down')
BLOCKS = [f'block-{block}/5' for block in range(5)]


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/study.py run segformer --seeds 10   # also goes on where it stopped',
            'python benchmarks/study.py run fpn --end-to-end --iterations 2000 --seeds 20 \\\n'
            '    --device cuda',
            'python benchmarks/study.py upgrade segformer --seeds 10',
            'python benchmarks/study.py table segformer --to carafe',
            'python benchmarks/study.py time segformer             # on a quiet machine',
        ],
    )
    commands = parser.add_subparsers(dest='command', required=True)
    common = ToolParser(add_help=False)
    common.add_argument('host', choices=HOSTS, help='head that the rows upsample in')
    common.add_argument(
        '--results', type=Path, default=ROOT / 'docs/study/runs', help='folder with the results'
    )
    placed = ToolParser(add_help=False)
    placed.add_argument('--device', default='cpu', help='cpu (default) or cuda')
    work = ToolParser(add_help=False)
    work.add_argument('--splits', nargs='+', default=BLOCKS, help='block-I/N, or drive-NAME')
    work.add_argument(
        '--seeds', nargs='+', type=int, required=True, help='of the start and the order of images'
    )
    work.add_argument(
        '--config', type=Path, default=ROOT / 'configs/ddf_camvid.py',
        help='whose backbone and data are used',
    )  # fmt: skip
    work.add_argument(
        '--cache', type=Path, default=Path('work_dirs/study'), help='folder for the features'
    )
    along = ToolParser(add_help=False)
    along.add_argument(
        '--end-to-end', action='store_true', help='train the backbone along, not only the head'
    )
    train = commands.add_parser(
        'run', help='train and score rows', parents=[common, placed, work, along]
    )
    train.add_argument('--rows', nargs='+', help='default: all')
    train.add_argument('--iterations', type=count, default=500, help='batches of 4 images')
    commands.add_parser(
        'upgrade',
        help='interpolation trained for long, then upgraded',
        parents=[common, placed, work, along],
    )
    picture = commands.add_parser(
        'picture', help='train rows and draw what they predict', parents=[common, placed, work]
    )
    picture.add_argument('--rows', nargs='+', default=['bilinear', 'carafe', 'ddf'])
    picture.add_argument('--iterations', type=count, default=500, help='batches of 4 images')
    picture.add_argument('-o', '--out', type=Path, required=True, help='picture to write')
    show = commands.add_parser('table', help='compare the rows', parents=[common])
    show.add_argument('--to', default='bilinear', help='row to compare with')
    show.add_argument('--by', choices=('block', 'drive'), default='block', help='kind of split')
    measure = commands.add_parser(
        'time', help='how long image and step take', parents=[common, placed]
    )
    measure.add_argument(
        '--seconds', type=float, default=60, help='how long to measure images, and steps'
    )
    return parser.parse_args()


def train_or_measure(args: argparse.Namespace, device: torch.device) -> None:
    """Everything but the table."""
    import torch

    from ddf_benchmarks.study.data import read_images, read_pixels
    from ddf_benchmarks.study.hosts import rows
    from ddf_benchmarks.study.pictures import draw
    from ddf_benchmarks.study.timing import time_rows
    from ddf_benchmarks.study.training import Run, run_rows, run_upgrade, train_heads

    if args.command == 'time':
        print(time_rows(args.host, device, args.seconds))
        return
    # Two runs with a thread each, side by side, take less time than one after the other with two.
    torch.set_num_threads(1)
    backbone, features, results = None, None, args.results
    if args.command == 'upgrade':
        results /= 'upgrade'
    if args.command != 'picture' and args.end_to_end:
        images, backbone = read_pixels(args.config, device)
        results /= 'end-to-end'
        if args.command == 'upgrade':
            features = read_images(args.config, args.cache, device)
    else:
        images = read_images(args.config, args.cache, device)
    if args.command == 'picture':
        run = Run(args.host, args.splits[0], args.seeds[0], args.iterations, device)
        heads, held_out = train_heads(run, args.rows, images)
        root = Path(os.environ.get('DDF_DATA_ROOT', 'data'), 'camvid')
        draw(heads, held_out, root, args.out)
        return
    for seed in args.seeds:
        for split in args.splits:
            if args.command == 'upgrade':
                run = Run(args.host, split, seed, 0, device, backbone)
                run_upgrade(run, images, results, features)
            else:
                run = Run(args.host, split, seed, args.iterations, device, backbone)
                run_rows(run, args.rows or list(rows(args.host)), images, results)
            sys.stderr.write(f'{args.host} {split} seed {seed}: done\n')


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmengine.logging import MMLogger

    from ddf_benchmarks.measure import device_named, full_float32
    from ddf_benchmarks.study.comparison import read_rows, table

    if args.command == 'table':
        print(table(read_rows(args.results, args.host, args.by), args.to))
        return 0
    # mmengine would print how each parameter of each row began.
    MMLogger.get_current_instance().setLevel('WARNING')
    with full_float32():
        train_or_measure(args, device_named(args.device))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
