"""Writes a data set of synthetic road scenes in Cityscapes' folder layout.

What a run that was interrupted has written stays; the next one draws the rest.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..command_line import ToolParser, output_errors
from ..errors import counted


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} --out data/demo --train 200 --val 40',
            '{program} --out data/depth_scenes --depth',
        ],
    )
    parser.add_argument('--out', type=Path, default=Path('data/demo'), help='folder to write')
    parser.add_argument('--train', type=int, default=200, help='scenes in the training split')
    parser.add_argument('--val', type=int, default=40, help='scenes in the validation split')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(256, 512), metavar=('HEIGHT', 'WIDTH'),
        help='of the images in pixels',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='another seed draws other scenes')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument(
        '--depth', action='store_true',
        help='write depth/SPLIT/…_depth.png, too: 16 bits, metres × 256 (default: none)',
    )  # fmt: skip
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from road_scenes.dataset import write_dataset

    counts = {'train': args.train, 'val': args.val}
    with output_errors('--out'):
        drawn = write_dataset(args.out, counts, tuple(args.size), args.seed, args.jobs, args.depth)
    if drawn:
        print(f'{args.out}: {counted(args.train, "scene")} to train on, {args.val} to validate')
    else:
        print(f'{args.out}: complete already, nothing to do')
    return 0
