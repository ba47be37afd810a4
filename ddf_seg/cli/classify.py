"""Trains a classifier of images, whose backbone a segmentor can start from.

In the segmentor's config, `init_cfg=dict(type='Pretrained', checkpoint='….pth',
prefix='backbone.')` of the backbone takes its weights.
"""

from __future__ import annotations

import argparse

from ..command_line import ToolParser


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::classification/ddf_resnet29_1xb64_cifar10.py',
            '{program} ddf_seg::classification/ddf_resnet29_1xb64_cifar10.py --resume',
        ],
    )
    parser.add_training('configs/classification')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.running.by_config import train_by_config

    train_by_config(args.config, args.cfg_options, args.work_dir, args.resume)
    return 0
