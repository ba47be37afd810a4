"""Segments an image, a folder or a video.

Takes CONFIG CHECKPOINT INPUT, or NETWORK.onnx INPUT with what the export wrote, without torch. With
--demo alone, it draws road scenes and segments them with ddf_seg::ddf_camvid.pth, the network that
the package brings along. Writes to --out-dir: overlays/ (pictures or videos with the colours of the
classes), ids/ (class ids as PNG, one per frame of a video) and classes.csv (the meaning of ids and
colours). docs/deployment.md says more of exported networks and of large images.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..command_line import ToolParser, output_errors
from ..engine.checks.output_folder import check_folder
from ..errors import UsageError

if TYPE_CHECKING:
    from ..engine.predicting.backend import Backend
    from ..runtime import Segmenter

DEMO_CONFIG = 'ddf_seg::ddf_camvid_trainval_finetune.py'
DEMO_CHECKPOINT = 'ddf_seg::ddf_camvid.pth'
EXPORTED = ('.onnx', '.xml', '.pt2')
DEMO_SCENES, DEMO_SIZE = 6, (360, 480)  # CamVid's


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        usage='%(prog)s [-h] [options] config checkpoint input\n'
        '       %(prog)s [-h] [options] network.onnx input\n'
        '       %(prog)s [-h] [options] --demo',
        examples=[
            '{program} --demo',
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n'
            '    ddf_seg::ddf_camvid.pth photos --out-dir results --scale 0.5',
            '{program} ddf_camvid.onnx photo.jpg --tile',
        ],
    )
    files = [
        parser.add_argument('config', nargs='?', help="config file, or a package's: mmseg::fcn/…"),
        parser.add_argument(
            'checkpoint',
            nargs='?',
            help='checkpoint file or URL; an exported file (.onnx, .xml, .pt2) stands for both',
        ),
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
    parser.add_argument(
        '--tile', type=int, nargs='*', metavar='SIZE',
        help='segment images in windows that fade into each other, of SIZE pixels or of height and '
        'width, as the network sees them; without a number 1024, or what the config or the '
        'exported file says. Without --tile, images that do not fit into memory are segmented so',
    )  # fmt: skip
    parser.add_argument(
        '--overlap', type=int, metavar='PIXELS',
        help="of neighbouring windows (default: an eighth of the window)",
    )  # fmt: skip
    parser.add_argument(
        '--batch-size', type=int, default=1, metavar='N',
        help='images of one size, or frames, that the network sees together',
    )  # fmt: skip
    parser.add_argument(
        '--optimize', action='store_true',
        help='compile the network by torch.compile, for each size of images: a minute at first, '
        'seconds from its cache, then every image is faster',
    )  # fmt: skip
    parser.add_argument(
        '--ids-video', action='store_true',
        help="write class ids of a video's frames as a lossless video (FFV1), not as PNGs",
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
    args.network = None
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity: expected 0 to 1, got {args.opacity}')
    if not 0 < args.scale < float('inf'):
        parser.error(f'--scale: expected a number above 0, got {args.scale}')
    if args.tile is not None and (len(args.tile) > 2 or any(side < 1 for side in args.tile)):
        parser.error(f'--tile: expected up to two numbers above 0, got {args.tile}')
    if args.overlap is not None and args.overlap < 0:
        parser.error(f'--overlap: expected 0 or more pixels, got {args.overlap}')
    if args.batch_size < 1:
        parser.error(f'--batch-size: expected 1 or more, got {args.batch_size}')
    given = [str(path) for file in files if (path := getattr(args, file.dest)) is not None]
    if args.demo and given:
        parser.error(f'--demo: expected no further file, got {", ".join(given)}')
    if args.demo:
        args.config, args.checkpoint = DEMO_CONFIG, DEMO_CHECKPOINT
        args.input = args.out_dir / 'scenes'
    elif args.config and Path(args.config).suffix in EXPORTED:
        if len(given) > 2:
            parser.error(f'{args.config} is an exported network: expected INPUT alone after it')
        if args.device or args.cfg_options or args.optimize:
            parser.error(
                f'--device, --cfg-options, --optimize: {args.config} is an exported network'
            )
        args.network, args.input = args.config, args.checkpoint and Path(args.checkpoint)
    if not args.demo and args.input is None:
        left = files[len(given) :]
        missing = ', '.join(file.dest for file in left) if args.network is None else 'input'
        parser.error(
            f'the following arguments are required: {missing} (or --demo). An exported network, '
            f'which stands for config and checkpoint, ends in {", ".join(EXPORTED)}'
        )
    return args


def load_backend(args: argparse.Namespace) -> Backend:
    """What runs the network that the command line asks for."""
    if args.network:
        from ..engine.predicting.exported import ExportedBackend

        segmenter = load_segmenter(args.network)
        tiled = args.tile is not None
        return ExportedBackend(segmenter, args.network, args.scale, tiled, args.batch_size)
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.config_file import read_config
    from ..engine.predicting.image_size import training_sizes
    from ..engine.predicting.network import choose_device, find_classes, load_model
    from ..engine.predicting.pytorch import PyTorchBackend

    device = choose_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    network = load_model(cfg, args.checkpoint, device, args.scale)
    classes = find_classes(network.meta, cfg, network.model.num_classes)
    if classes.note:
        sys.stderr.write(f'note: {classes.note}\n')
    return PyTorchBackend(network, classes, args.scale, training_sizes(cfg), args.optimize)


@contextmanager
def missing_packages() -> Iterator[None]:
    """Names a package that is not installed, where torch's environment would have it."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or '').partition('.')[0]
        package = {'PIL': 'pillow', 'cv2': 'opencv-python-headless'}.get(name, name)
        raise UsageError(f'{name} is missing: pip install {package}') from error


def load_segmenter(file: str) -> Segmenter:
    """What runs an exported network: without torch, unless it is torch's own program."""
    if file.endswith('.pt2'):
        with missing_packages():
            from ..engine.predicting.programs import ProgramSegmenter

        return ProgramSegmenter(file)
    from ..runtime import Segmenter

    return Segmenter(file)


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
    with missing_packages():
        from rich.console import Console
        from rich.progress import Progress

        from ..engine.images import IMAGES, VIDEOS
        from ..engine.predicting.drawing import Drawing, clear_palette
        from ..engine.predicting.inputs import find_inputs
        from ..engine.predicting.predictor import Predictor, check_targets, predict
        from ..engine.predicting.results import result_paths, write_classes

        if args.legend:
            import PIL.Image  # noqa: F401

    if args.demo:
        from road_scenes.dataset import write_pictures

        with output_errors('--out-dir'):
            write_pictures(args.input, DEMO_SCENES, DEMO_SIZE)
    inputs = find_inputs([args.input], IMAGES | VIDEOS, result_paths)
    if inputs.note:
        sys.stderr.write(f'note: {inputs.note}\n')
    check_targets(inputs, args.out_dir)
    backend = load_backend(args)
    tiles = backend.tiles(args.tile, args.overlap)
    classes = backend.classes
    if args.show == 'doubt':
        backend.check_doubt()
    if args.ids_video and len(classes.names) > 256:
        raise UsageError(f'--ids-video: expected at most 256 classes, got {len(classes.names)}')
    if args.palette == 'clear':
        classes.palette = clear_palette(len(classes.names))
    drawing = Drawing(
        classes.names, classes.palette, args.opacity, args.show, args.outlines,
        find_ids(args.only, classes.names), args.legend,
    )  # fmt: skip
    predictor = Predictor(
        backend, drawing, tiles, args.tile is not None, args.batch_size, args.ids_video
    )
    with output_errors('--out-dir'):
        write_classes(args.out_dir, classes)
    with Progress(console=Console(stderr=True)) as progress:
        tally = predict(predictor, inputs, args.out_dir, progress)
    unusual = len(backend.unusual)
    note = f' ({unusual} of a size far from those of the training)' if unusual else ''
    print(f'{tally} segmented{note}, see {args.out_dir}')
    tally.check()
    return 0
