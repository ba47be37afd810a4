"""Trains a network that enlarges depth maps, guided by images of the scenes.

It reads folders of images and depth maps, makes the depth coarse, and learns to bring it back.
`ddf-seg scenes --depth` draws such folders.
"""

from __future__ import annotations

import argparse

from ..command_line import ToolParser


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::depth_upsampling/ddf_x8_scenes.py',
            '{program} ddf_seg::depth_upsampling/ddf_x8_scenes.py --resume',
        ],
    )
    parser.add_training('configs/depth_upsampling')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.running.by_config import train_by_config

    train_by_config(args.config, args.cfg_options, args.work_dir, args.resume)
    return 0
