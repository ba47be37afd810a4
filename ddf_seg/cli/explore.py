"""Shows the filters of many images in a browser, page by page.

Serves a list of the images on this machine alone (127.0.0.1). The page of an image is made when it
is opened: see docs/filters.md. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import sys

from ..command_line import ToolParser
from ..errors import UsageError, counted
from .visualize import add_network, load_visualizer, parse_network


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} ddf_seg::ddf_camvid_trainval_finetune.py \\\n'
            '    ddf_seg::ddf_camvid.pth photos',
        ],
    )
    add_network(parser)
    parser.add_argument('--port', type=int, default=8321, help='port; 0: any that is free')
    parser.set_defaults(points=None, channels=None, html=True, one_page=False, animate=False)
    args = parse_network(parser)
    if not 0 <= args.port <= 65535:
        parser.error(f'--port: expected 0 to 65535, got {args.port}')
    return args


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ..engine.images import IMAGES
    from ..engine.predicting.inputs import find_inputs

    try:
        from ..visualization.serving import Pages, open_server, serve
    except ModuleNotFoundError as error:
        raise UsageError(f'{error.name} is missing: pip install {error.name}') from error
    inputs = find_inputs(args.images, IMAGES)
    if inputs.note:
        sys.stderr.write(f'note: {inputs.note}\n')
    for file, reason in inputs.unreadable.items():
        sys.stderr.write(f'note: {file}: {reason}\n')
    if not inputs.names:
        raise UsageError(f'{args.images[0]}: found no image that can be read')
    # Before the network is loaded, which takes longer
    server = open_server(args.port)
    with server:
        pages = Pages(load_visualizer(args, inputs), list(inputs.names))
        print(
            f'{counted(len(inputs.names), "image")} at {server.address} (Ctrl-C ends)', flush=True
        )
        serve(server, pages)
    return 0
