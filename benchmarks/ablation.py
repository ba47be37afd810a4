"""Trains a small ResNet on CIFAR-10 with other filters in place of its 3×3 convolutions.

The paper's ablation at a size that one core trains in minutes. docs/classification.md says what the
rows are, and what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, count, say, show_usage_errors

ROOT = Path(__file__).parents[1]


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/ablation.py run base mul --seeds 0 1 2  # goes on where it stopped',
            'python benchmarks/ablation.py table --to base',
        ],
    )
    commands = parser.add_subparsers(dest='command', required=True)
    common = ToolParser(add_help=False)
    common.add_argument(
        '--results', type=Path, default=ROOT / 'docs/ablation/runs', help='folder with the results'
    )
    run = commands.add_parser('run', help='train and score rows', parents=[common])
    run.add_argument('rows', nargs='+', metavar='ROW', help='what takes the place: see the page')
    run.add_argument(
        '--seeds', nargs='+', type=int, default=[0], help='of the start and the order of images'
    )
    run.add_argument('--images', type=count, default=10000, help='for training, of all classes')
    run.add_argument('--epochs', type=count, default=5, help='how often each image is seen')
    run.add_argument(
        '--data', type=Path,
        default=Path(os.environ.get('DDF_DATA_ROOT', 'data'), 'cifar10', 'cifar10.zip'),
        help='CIFAR-10: a zip or folder with train/CLASS/… and test/CLASS/…, or the official '
        'cifar-10-batches-py',
    )  # fmt: skip
    show = commands.add_parser('table', help='compare the rows', parents=[common])
    show.add_argument('--to', default='base', help='row to compare with')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    import torch

    from ddf_benchmarks.ablation.comparison import read_result, read_rows, table
    from ddf_benchmarks.ablation.network import CLASSES, FILTERS
    from ddf_benchmarks.ablation.training import Images, Run, run_row
    from ddf_seg.datasets.cifar10 import read_cifar10
    from ddf_seg.errors import UsageError

    if args.command == 'table':
        print(table(read_rows(args.results), args.to))
        return 0
    if unknown := [row for row in args.rows if row not in FILTERS]:
        raise UsageError(f'ROW: expected some of {", ".join(FILTERS)}, got {unknown[0]}')
    if args.images % CLASSES:
        raise UsageError(f'--images: expected a multiple of {CLASSES}, got {args.images}')
    torch.set_num_threads(1)
    parts = {}
    for part, each in (('train', args.images // CLASSES), ('test', None)):
        parts[part] = Images(*map(torch.from_numpy, read_cifar10(args.data, part, each)))
    for seed in args.seeds:
        for row in args.rows:
            run = Run(row, seed, args.epochs)
            file = run.file(args.results)
            if file.exists():
                found = read_result(file)
                if (found['images'], found['epochs']) != (args.images, args.epochs):
                    raise UsageError(
                        f'{file}: expected the result of {args.images} images and {args.epochs} '
                        f'epochs, got one of {found["images"]} and {found["epochs"]}; --results '
                        'names another folder'
                    )
                continue
            run_row(run, parts['train'], parts['test'], args.results)
            say(f'{row}, seed {seed}: {read_result(file)["scores"]["accuracy"]} %')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
