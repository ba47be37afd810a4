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
        help='how many images come at a time, or dynamic: any number (default 1)',
    )  # fmt: skip
    parser.add_argument(
        '--output', choices=('ids', 'scores'), default='ids',
        help='class ids, or the scores of every class (N, classes, H, W), before softmax',
    )  # fmt: skip
    parser.add_argument('-o', '--out', type=Path, required=True, help='file to write')
    parser.add_cfg_options()
    args = parser.parse_args()
    if args.size and min(args.size) < 1:
        parser.error(f'--size: expected values above 0, got {args.size}')
    if args.format == 'aoti' and (args.dynamic or args.batch is None):
        parser.error('--format aoti: expected --size and a number for --batch, which it is compiled for')
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
    from ..deployment.exporting import check_target, export_program, write_program
    from ..deployment.network import metadata_of
    from ..engine.config_file import read_config
    from ..engine.predicting.network import load_model

    check_target(args.out, args.format)
    cfg = read_config(args.config, args.cfg_options)
    network = load_model(cfg, args.checkpoint, 'cpu')
    metadata, note = metadata_of(network, cfg, Path(args.config).stem)
    if note:
        sys.stderr.write(f'note: {note}\n')
    program = export_program(
        network.model,
        tuple(args.size) if args.size else None,
        args.output == 'scores',
        compiled=args.format == 'aoti',
        batch=args.batch,
    )
    with output_errors('--out'):
        write_program(program, args.format, args.out, metadata)
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.1f} MB')
    return 0
