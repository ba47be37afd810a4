"""Scores networks of CamVid's 11 classes on drawn road scenes, which none of them was trained on.

Prints a table: mIoU, its difference to the first network with an interval of 95 % over the scenes,
and the IoU of each class. Drawn scenes look like no photo: this compares networks, and is no
measure of how well they do on a street.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, count, show_usage_errors

# Of the first scene; the demo's scenes have other seeds.
FIRST_SEED = 9_000_000


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/drawn_scenes.py \\\n'
            '    configs/ddf_camvid_trainval_finetune.py checkpoints/ddf_camvid.pth'
        ],
    )
    parser.add_argument(
        'networks', nargs='+', metavar='CONFIG CHECKPOINT', help='one network or several'
    )
    parser.add_argument('--scenes', type=count, default=100, help='how many to draw')
    parser.add_argument(
        '--size', type=int, nargs=2, default=[360, 480], metavar=('HEIGHT', 'WIDTH'),
        help='of the scenes, in pixels',
    )  # fmt: skip
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ddf_benchmarks import drawn_scenes
    from ddf_seg.engine.config_file import read_config
    from ddf_seg.engine.predicting.network import load_model
    from ddf_seg.errors import UsageError

    if len(args.networks) % 2:
        raise UsageError(
            f'CONFIG CHECKPOINT: expected pairs of both, got {len(args.networks)} words'
        )
    if min(args.size) < 32:
        raise UsageError(f'--size: expected at least 32 pixels each way, got {args.size}')
    pairs = list(zip(args.networks[::2], args.networks[1::2], strict=True))
    models = [
        load_model(read_config(config), checkpoint, 'cpu').model for config, checkpoint in pairs
    ]
    for (config, _), model in zip(pairs, models, strict=True):
        if model.decode_head.num_classes != len(drawn_scenes.CAMVID):
            raise UsageError(
                f"CONFIG: expected a network of CamVid's {len(drawn_scenes.CAMVID)} classes, "
                f'{config} has {model.decode_head.num_classes}'
            )
    size = (args.size[0], args.size[1])
    scenes = [drawn_scenes.draw(FIRST_SEED + i, size) for i in range(args.scenes)]
    found = [drawn_scenes.areas(model, scenes) for model in models]
    print(drawn_scenes.table([Path(checkpoint).stem for _, checkpoint in pairs], found))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
