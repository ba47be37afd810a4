"""Counts parameters and multiply-adds.

CONFIG is a file, or mmseg::…. A multiply-add counts once. With --table in place of CONFIG, it
compares layers of 256 channels: a convolution, a depthwise one, a pixel-adaptive one (PAC), a full
dynamic filter (DFN) and DDF. Their cost comes from formulas, as in table 1 of the paper (weights
alone), and from modules that run (with biases, normalisation and pooling).
"""

from __future__ import annotations

import argparse

from ..command_line import ToolParser
from ..errors import UsageError

MAP, IMAGE = (56, 56), (2048, 1024)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid.py --shape 360 480',
            '{program} --table',
        ],
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('config', nargs='?', help="config file, or a package's: mmseg::fcn/…")
    what.add_argument('--table', action='store_true', help='compare the cost of single layers')
    parser.add_argument(
        '--shape', type=int, nargs='+', metavar='N',
        help='height and width of the image, or one value for both (default: 2048 1024; with '
        '--table, of the map: 56 56)',
    )  # fmt: skip
    parser.add_cfg_options()
    args = parser.parse_args()
    args.shape = args.shape or (MAP if args.table else IMAGE)
    if len(args.shape) > 2 or min(args.shape) < 1:
        parser.error(f'--shape: expected one or two values above 0, got {args.shape}')
    args.shape = (args.shape[0], args.shape[-1])
    return args


def print_table(args: argparse.Namespace) -> None:
    """What the layers cost."""
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmengine.logging import MMLogger

    from ..analysis.layers import cost_table

    # mmengine warns of every elementwise operation, which it does not count.
    MMLogger.get_instance('get_flops', log_level='ERROR')
    print(cost_table(args.shape))


def print_model(args: argparse.Namespace) -> None:
    """Multiply-adds and parameters of a config's model."""
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmengine.analysis.print_helper import _format_size
    from mmengine.registry import init_default_scope

    from ..analysis.models import complexity
    from ..engine.config_file import read_config
    from ..engine.explanations import explained

    cfg = read_config(args.config, args.cfg_options)
    if 'model' not in cfg:
        raise UsageError(f'{args.config} has no model')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    try:
        with explained(cfg):
            flops, parameters = map(_format_size, complexity(cfg.model.to_dict(), args.shape))
    except UsageError as error:
        raise UsageError(f'{args.config}: {error}') from error
    line = '=' * 30
    print(f'{line}\nInput shape: {args.shape}\nFlops: {flops}\nParams: {parameters}\n{line}')


def main() -> int:
    args = parse_args()
    (print_table if args.table else print_model)(args)
    return 0
