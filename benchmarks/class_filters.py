"""Shows what the filters of a trained classifier learned, by the class of the image.

Prints how similar the channel filters of images of one class are, and draws them, and the spatial
filters over an image of each class.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, count, output_errors, show_usage_errors


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python benchmarks/class_filters.py \\\n'
            '    configs/classification/ddf_resnet29_1xb64_cifar10.py epoch_60.pth'
        ],
    )
    parser.add_argument('config', help='config of a classifier on CIFAR-10, see ddf-seg classify')
    parser.add_argument('checkpoint', help='what it was trained to')
    parser.add_argument('--per-class', type=count, default=100, help='test images of each class')
    parser.add_argument(
        '--out', type=Path, default=Path('class_filters.png'), help='picture to write'
    )
    parser.add_cfg_options()
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmengine.registry import init_default_scope
    from mmengine.runner import load_checkpoint
    from mmseg.registry import MODELS

    from ddf_benchmarks import class_filters
    from ddf_seg.datasets.cifar10 import CLASSES
    from ddf_seg.engine.checks.output_folder import check_folder
    from ddf_seg.engine.config_file import read_config
    from ddf_seg.engine.weights.pretrained import check_weights
    from ddf_seg.errors import UsageError
    from ddf_seg.visualization.pictures import style

    if args.per_class < 2:
        raise UsageError(f'--per-class: expected at least 2 images, got {args.per_class}')
    check_folder(str(args.out.parent), '--out')
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope('mmseg')
    check_weights(args.checkpoint, 'CHECKPOINT')
    network = MODELS.build(cfg.model)
    load_checkpoint(network, args.checkpoint, map_location='cpu', strict=True)
    cfg.val_dataloader.dataset.per_class = args.per_class
    captured = class_filters.capture(network, cfg.val_dataloader)
    print(class_filters.table(captured))
    layers = list(captured.channel)
    shown = [layers[0], layers[len(layers) // 2], layers[-1]]
    figure = class_filters.draw(captured, shown, CLASSES)
    with output_errors('--out'), style.style():
        figure.savefig(args.out, dpi=96)
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
