"""Segments an image, a folder or a video.

With --demo alone, it draws road scenes and segments them with ddf_seg::ddf_camvid.pth, the network
that the package brings along. Writes to --out-dir: overlays/ (pictures or videos with the colours
of the classes), ids/ (class ids as PNG, one per frame of a video) and classes.csv (the meaning of
ids and colours).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..command_line import ToolParser, output_errors
from ..engine.checks.output_folder import check_folder
from ..errors import UsageError

if TYPE_CHECKING:
    from ..engine.predicting.predictor import Predictor

DEMO_CONFIG = 'ddf_seg::ddf_camvid_trainval_finetune.py'
DEMO_CHECKPOINT = 'ddf_seg::ddf_camvid.pth'
DEMO_SCENES, DEMO_SIZE = 6, (360, 480)  # CamVid's


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} --demo',
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n'
            '    ddf_seg::ddf_camvid.pth photos --out-dir results --scale 0.5',
        ],
    )
    files = [
        parser.add_argument('config', nargs='?', help="config file, or a package's: mmseg::fcn/…"),
        parser.add_argument('checkpoint', nargs='?', help='checkpoint file or URL'),
        parser.add_argument('input', nargs='?', type=Path, help='image, video, or folder of such'),
    ]
    parser.add_argument(
        '--demo',
        action='store_true',
        help=f'draw {DEMO_SCENES} scenes to OUT_DIR/scenes, and segment them with '
        f'{DEMO_CHECKPOINT}',
    )
    parser.add_argument(
        '--out-dir', type=Path, default=Path('predictions'), help='folder for the results'
    )
    parser.add_device()
    parser.add_argument(
        '--scale', type=float, default=1.0,
        help='factor by which images are resized before the network sees them, so that things are '
        'as large as in training; results keep the size of the image',
    )  # fmt: skip
    parser.add_argument('--opacity', type=float, default=0.5, help='opacity of the colours, 0 to 1')
    parser.add_argument(
        '--legend', action='store_true', help='put names and colours of the classes below the image'
    )
    parser.add_argument('--outlines', action='store_true', help='draw lines where classes meet')
    parser.add_argument(
        '--only', nargs='+', action='extend', metavar='CLASS',
        help='draw these classes alone; the ids keep all',
    )  # fmt: skip
    parser.add_argument(
        '--show', choices=('classes', 'doubt'), default='classes',
        help='what the colours say: the class, or how unsure the network is (the entropy of the '
        "classes' probabilities)",
    )  # fmt: skip
    parser.add_argument(
        '--palette', choices=('dataset', 'clear'), default='dataset',
        help="the dataset's colours, or clear ones that colour-blind eyes tell apart, too",
    )  # fmt: skip
    parser.add_cfg_options()
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity: expected 0 to 1, got {args.opacity}')
    if not 0 < args.scale < float('inf'):
        parser.error(f'--scale: expected a number above 0, got {args.scale}')
    given = [file.dest for file in files if getattr(args, file.dest) is not None]
    if args.demo and given:
        parser.error(f'--demo: expected no further file, got {", ".join(given)}')
    if args.demo:
        args.config, args.checkpoint = DEMO_CONFIG, DEMO_CHECKPOINT
        args.input = args.out_dir / 'scenes'
    elif len(given) < len(files):
        missing = ', '.join(file.dest for file in files if file.dest not in given)
        parser.error(f'the following arguments are required: {missing} (or --demo)')
    return args


def load_predictor(args: argparse.Namespace) -> Predictor:
    """What the command line asks for."""
    from ..engine.config_file import read_config
    from ..engine.predicting.classes import find_classes
    from ..engine.predicting.drawing import Drawing, clear_palette
    from ..engine.predicting.image_size import training_sizes
    from ..engine.predicting.network import choose_device, load_model
    from ..engine.predicting.predictor import Predictor

    device = choose_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    network = load_model(cfg, args.checkpoint, device, args.scale)
    classes = find_classes(network.meta, cfg, network.model.num_classes)
    if classes.note:
        sys.stderr.write(f'note: {classes.note}\n')
    if args.palette == 'clear':
        classes.palette = clear_palette(len(classes.names))
    drawing = Drawing(
        classes.names, classes.palette, args.opacity, args.show, args.outlines,
        find_ids(args.only, classes.names), args.legend,
    )  # fmt: skip
    return Predictor(network, classes, drawing, args.scale, training_sizes(cfg))


def find_ids(wanted: Sequence[str] | None, names: Sequence[str]) -> frozenset[int] | None:
    """The ids of the classes that --only names, whatever the case.

    Raises:
        UsageError: there is no such class; the message lists those that there are.
    """
    if not wanted:
        return None
    ids = {name.casefold(): index for index, name in enumerate(names)}
    for name in wanted:
        if name.casefold() not in ids:
            raise UsageError(f'--only {name}: expected some of {", ".join(names)}')
    return frozenset(ids[name.casefold()] for name in wanted)


def main() -> int:
    args = parse_args()
    check_folder(args.out_dir, '--out-dir')
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from rich.console import Console
    from rich.progress import Progress

    from ..engine.images import IMAGES, VIDEOS
    from ..engine.predicting.inputs import find_inputs
    from ..engine.predicting.predictor import check_targets, predict
    from ..engine.predicting.results import result_paths, write_classes

    if args.demo:
        from road_scenes.dataset import write_pictures

        with output_errors('--out-dir'):
            write_pictures(args.input, DEMO_SCENES, DEMO_SIZE)
    inputs = find_inputs([args.input], IMAGES | VIDEOS, result_paths)
    if inputs.note:
        sys.stderr.write(f'note: {inputs.note}\n')
    check_targets(inputs, args.out_dir)
    predictor = load_predictor(args)
    with output_errors('--out-dir'):
        write_classes(args.out_dir, predictor.classes)
    with Progress(console=Console(stderr=True)) as progress:
        tally = predict(predictor, inputs, args.out_dir, progress)
    unusual = len(predictor.unusual)
    note = f' ({unusual} of a size far from those of the training)' if unusual else ''
    print(f'{tally} inputs segmented{note}, see {args.out_dir}')
    tally.check()
    return 0
