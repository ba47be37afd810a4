"""Compares configs of mmsegmentation with their DDF counterparts: parameters, multiply-adds, time.

Each config and what `ddf-seg swap` makes of it take turns, with random weights, from an image to
scores of its size. The table is that of docs/choosing.md.
"""

from __future__ import annotations

import argparse
import sys

from ddf_seg.command_line import ToolParser, count, show_usage_errors

CONFIGS = [
    'mmseg::segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
    'mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
    'mmseg::upernet/upernet_r50_4xb2-80k_cityscapes-512x1024.py',
    'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-80k_cityscapes-512x1024.py',
    'mmseg::pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py',
]


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/swap_costs.py --seconds 20      # on a quiet machine',
            'python benchmarks/swap_costs.py my/config.py --shape 384 480',
        ],
    )
    parser.add_argument('configs', nargs='*', default=CONFIGS, help='default: one of each kind')
    parser.add_argument(
        '--shape', type=count, nargs=2, default=[512, 1024], metavar='N',
        help='height and width of the image (default: 512 1024)',
    )  # fmt: skip
    parser.add_argument('--seconds', type=float, default=20, help='to time each pair')
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    args = parser.parse_args()
    if args.seconds <= 0:
        parser.error(f'--seconds: expected a number above 0, got {args.seconds}')
    return args


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    import torch
    from mmengine.logging import MMLogger

    from ddf_benchmarks.measure import Settings, device_named, full_float32
    from ddf_benchmarks.swap_costs import compare

    # mmengine warns of every elementwise operation, which it does not count.
    MMLogger.get_current_instance().setLevel('ERROR')
    MMLogger.get_instance('get_flops', log_level='ERROR')
    settings = Settings(device_named(args.device), args.seconds, torch.get_num_threads())
    with full_float32():
        print(compare(args.configs, (args.shape[0], args.shape[1]), settings))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
