"""Shows the filters that pixels got.

Writes a folder for each image to --out-dir. It holds an overview (prediction, points, filter
colours of every layer) and, for each layer, the filters at points, maps, filters by class and
channel filters, as PNG and PDF. With --html it also holds explorer.html, a page to explore the
filters, which works offline.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..command_line import ToolParser
from ..engine.checks.output_folder import check_folder
from ..errors import UsageError

if TYPE_CHECKING:
    from ..engine.predicting.inputs import Inputs
    from ..visualization.visualizing import Visualizer


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n'
            '    ddf_seg::ddf_camvid.pth street.jpg --points 120,80 300,200 --html',
        ],
    )
    add_network(parser)
    parser.add_argument(
        '--points', nargs='+', action='extend', type=pixel, metavar='X,Y',
        help='pixels to show (default: some of each predicted class, on thin things and borders)',
    )  # fmt: skip
    parser.add_argument(
        '--channels', nargs='+', action='extend', type=int, metavar='N',
        help='channels whose effective filters to show (default: three that differ)',
    )  # fmt: skip
    parser.add_argument(
        '--out-dir', type=Path, default=Path('filters'), help='folder for the results'
    )
    parser.add_argument('--html', action='store_true', help='also write a page to explore filters')
    parser.add_argument(
        '--one-page', action='store_true',
        help='write one page of all images, OUT_DIR/explorer.html (for up to a dozen or so)',
    )  # fmt: skip
    parser.add_argument(
        '--animate', action='store_true',
        help='also write scan.gif: the filters of an upsampling along a line through the image',
    )  # fmt: skip
    parser.add_argument(
        '--shared-colours', action='store_true',
        help='use one set of filter colours for all images, and all layers with the same kernel',
    )  # fmt: skip
    return parse_network(parser)


def add_network(parser: ToolParser) -> None:
    """Adds what says which network runs on which images, and what is looked at."""
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('images', type=Path, nargs='+', metavar='image', help='image or folder')
    parser.add_argument(
        '--layer', nargs='+', action='extend', metavar='NAME',
        help='DDF layers, or modules that contain some, such as decode_head (default: all in the '
        'overview and on the page; in detail the last one and the last upsampling)',
    )  # fmt: skip
    parser.add_argument(
        '--compare', metavar='CHECKPOINT', help='show a second checkpoint beside the first'
    )
    parser.add_argument(
        '--ground-truth', nargs='+', action='extend', type=Path, metavar='FILE',
        help="label images, one for each image (default: those of the config's test dataset for "
        'its own images)',
    )  # fmt: skip
    parser.add_argument(
        '--max-size', type=int, default=2048, metavar='N',
        help='most pixels of the longer side; larger images are shrunk first',
    )  # fmt: skip
    parser.add_device()
    parser.add_cfg_options()


def parse_network(parser: ToolParser) -> argparse.Namespace:
    """The arguments, those of `add_network` checked."""
    args = parser.parse_args()
    if args.max_size < 1:
        parser.error(f'--max-size: expected at least 1, got {args.max_size}')
    return args


def pixel(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected x,y in pixels, got {text!r}') from None
    return x, y


def load_visualizer(args: argparse.Namespace, inputs: Inputs) -> Visualizer:
    """What the command line asks for."""
    from ..engine.config_file import read_config
    from ..engine.predicting.image_size import training_sizes
    from ..engine.predicting.network import choose_device, find_classes, load_model
    from ..visualization.visualizing import Labels, Visualizer

    device = choose_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    checkpoints = [args.checkpoint, *([args.compare] if args.compare else [])]
    networks = [load_model(cfg, checkpoint, device) for checkpoint in checkpoints]
    titles = [checkpoint.rpartition('/')[2] for checkpoint in checkpoints]
    if len(set(titles)) < len(titles):
        titles = checkpoints
    first = networks[0]
    classes = find_classes(first.meta, cfg, first.model.num_classes)
    if classes.note:
        sys.stderr.write(f'note: {classes.note}\n')
    return Visualizer(
        list(zip(titles, networks, strict=True)),
        classes,
        Labels(cfg, list(inputs.names), args.ground_truth),
        points=args.points,
        layers=args.layer,
        channels=args.channels,
        html=args.html,
        one_page=args.one_page,
        animate=args.animate,
        max_size=args.max_size,
        sizes=training_sizes(cfg),
    )


def main() -> int:
    args = parse_args()
    check_folder(args.out_dir, '--out-dir')
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from rich.console import Console
    from rich.progress import Progress

    from ..engine.images import IMAGES
    from ..engine.predicting.inputs import find_inputs

    try:
        from ..visualization.visualizing import PAGE, visualize
    except ModuleNotFoundError as error:
        raise UsageError(f'{error.name} is missing: pip install {error.name}') from error
    inputs = find_inputs(args.images, IMAGES)
    if inputs.note:
        sys.stderr.write(f'note: {inputs.note}\n')
    visualizer = load_visualizer(args, inputs)
    with Progress(console=Console(stderr=True)) as progress:
        tally = visualize(visualizer, inputs, args.out_dir, args.shared_colours, progress)
    print(f'{tally} shown, see {args.out_dir}')
    if args.one_page:
        print(f'  {args.out_dir / PAGE}')
    for file in tally.finished if args.html and not args.one_page else ():
        print(f'  {args.out_dir / inputs.names[file] / PAGE}')
    tally.check()
    return 0
