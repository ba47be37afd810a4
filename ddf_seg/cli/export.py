"""Writes a trained network for other runtimes.

The file holds all of it: an image in OpenCV's form goes in, (N, H, W, 3) uint8 BGR, class ids come
out, (N, H, W). Names and colours of the classes are in it, too. docs/deployment.md has the details.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..command_line import ToolParser, output_errors

FORMATS = ('onnx', 'openvino', 'pt2', 'aoti')


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n'
            '    ddf_seg::ddf_camvid.pth --dynamic -o ddf_camvid.onnx',
        ],
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--format', choices=FORMATS, default='onnx',
        help='onnx (.onnx), openvino (.xml and .bin), pt2 (.pt2, for torch without ddf_seg), or '
        'aoti (.pt2, compiled for this processor, for torch in Python or C++ with our operators)',
    )  # fmt: skip
    sizes = parser.add_mutually_exclusive_group(required=True)
    sizes.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help='height and width of the images'
    )
    sizes.add_argument(
        '--dynamic', action='store_true', help='images of any height and width, odd ones, too'
    )
    parser.add_argument(
        '--batch', type=_batch, default=1, metavar='N|dynamic',
        help='how many images come at a time, or dynamic: any number',
    )  # fmt: skip
    parser.add_argument(
        '--output', choices=('ids', 'scores', 'probabilities'), default='ids',
        help='class ids, or of every class the scores before softmax or the probabilities, '
        '(N, classes, H, W)',
    )  # fmt: skip
    parser.add_argument(
        '--input-layout', choices=('nhwc', 'nchw'), default='nhwc',
        help='(N, H, W, 3), or (N, 3, H, W)',
    )  # fmt: skip
    parser.add_argument(
        '--input-colours', choices=('bgr', 'rgb'), default='bgr', help='their order'
    )
    parser.add_argument(
        '--precision', choices=('fp32', 'fp16', 'int8'), default='fp32',
        help='for openvino: weights in half precision, or convolutions in int8',
    )  # fmt: skip
    parser.add_argument(
        '--calibration', type=Path, metavar='FOLDER',
        help="images that int8 is calibrated with; default: the config's training set",
    )  # fmt: skip
    parser.add_argument('-o', '--out', type=Path, required=True, help='file to write')
    parser.add_cfg_options()
    args = parser.parse_args()
    if args.size and min(args.size) < 1:
        parser.error(f'--size: expected values above 0, got {args.size}')
    if args.format == 'aoti' and (args.dynamic or args.batch is None):
        parser.error(
            '--format aoti: expected --size and a number for --batch, which it is compiled for'
        )
    if args.calibration is not None and args.precision != 'int8':
        parser.error('--calibration: expected with --precision int8 alone')
    return args


def _batch(text: str) -> int | None:
    if text == 'dynamic':
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'expected a number above 0 or dynamic, got {text!r}')
    return int(text)


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..deployment.exporting import LEAST_FREE_SIZE, check_target, export_program, write_program
    from ..deployment.network import Interface, metadata_of
    from ..deployment.quantizing import calibration_images
    from ..engine.config_file import read_config
    from ..engine.predicting.network import load_model

    check_target(args.out, args.format, args.precision)
    cfg = read_config(args.config, args.cfg_options)
    interface = Interface(args.input_layout, args.input_colours, args.output)
    size = None if args.dynamic else (args.size[0], args.size[1])
    images = []
    if args.precision == 'int8':
        images = calibration_images(cfg, args.calibration, size, args.batch or 1, interface)
    network = load_model(cfg, args.checkpoint, 'cpu')
    least = LEAST_FREE_SIZE if args.dynamic else 1
    metadata, note = metadata_of(network, cfg, Path(args.config).stem, interface, least)
    if note:
        sys.stderr.write(f'note: {note}\n')
    program = export_program(network.model, size, interface, args.batch)
    with output_errors('--out'):
        write_program(program, args.format, args.out, metadata, args.precision, images)
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')
    return 0
