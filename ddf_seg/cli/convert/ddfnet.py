"""Converts a checkpoint of the DDF authors' classifiers for the backbone DDFResNet.

Their networks (github.com/theFoxofSky/ddfnet) are timm's ResNets with DDFPack as `conv2`. The tool
prints for every key whether it was used, renamed or left over, and the config of the backbone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ...command_line import ToolParser


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=['{program} ddf_mul_resnet50.pth.tar ddf50.pth'],
    )
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='their file')
    parser.add_argument('out', type=Path, metavar='OUT', help='the file to write')
    parser.add_argument(
        '--kernel-combine',
        choices=['mul', 'add'],
        help="how the two filters are combined (default: what 'ddf_mul_…' or 'ddf_add_…' says)",
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ...engine.weights.checkpoints import save_checkpoint
    from ...engine.weights.ddfnet import convert, find_kernel_combine, load

    checkpoint = load(args.checkpoint)
    combine = args.kernel_combine or find_kernel_combine(args.checkpoint, checkpoint)
    conversion = convert(checkpoint, combine)
    save_checkpoint(dict(meta={}, state_dict=conversion.state_dict), args.out, args.checkpoint)
    print(conversion.report())
    backbone = {
        **conversion.backbone,
        'init_cfg': dict(type='Pretrained', checkpoint=str(args.out)),
    }
    print(f'\nbackbone={backbone}')
    return 0
