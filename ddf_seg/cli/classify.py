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
    parser.add_argument('config', help='config file, of configs/classification')
    parser.add_argument(
        '--work-dir',
        help="folder for checkpoints and logs (default: the config's work_dir, or work_dirs/ and "
        'the name of CONFIG)',
    )
    parser.add_argument(
        '--resume', action='store_true',
        help='go on from the last checkpoint in the work dir (default: start anew)',
    )  # fmt: skip
    parser.add_cfg_options()
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.running.classifying import train_classifier

    train_classifier(args.config, args.cfg_options, args.work_dir, args.resume)
    return 0
