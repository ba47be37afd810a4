"""Opens a page in the browser: upload a street, see its classes and the filters of its pixels.

Without arguments, it shows the network that comes along, of CamVid's classes. Ctrl-C ends it. A
program may POST an image as the field `image` of a form to /segment: it gets JSON with the classes,
their shares and links to the overlay, the class ids and the page of the filters.
"""

from __future__ import annotations

import argparse

from ..command_line import ToolParser
from ..errors import UsageError
from .predict import DEMO_CHECKPOINT, DEMO_CONFIG, load_backend


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program}',
            '{program} ddf_seg::ddf_demo.py work_dirs/ddf_demo/iter_350.pth --port 9000',
        ],
    )
    parser.add_argument('config', nargs='?', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', nargs='?', help='checkpoint file or URL')
    parser.add_argument(
        '--host', default='127.0.0.1',
        help='address to listen at (default: 127.0.0.1, this machine alone; 0.0.0.0: everybody who '
        'reaches it)',
    )  # fmt: skip
    parser.add_argument('--port', type=int, default=8080, help='0: any that is free')
    parser.add_argument(
        '--max-size', type=int, default=640, metavar='N',
        help='most pixels of the longer side; larger images are shrunk first. Best is the size of '
        'the images in training',
    )  # fmt: skip
    parser.add_argument('--opacity', type=float, default=0.5, help='opacity of the colours, 0 to 1')
    parser.add_device()
    parser.add_cfg_options()
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity: expected 0 to 1, got {args.opacity}')
    if not 0 <= args.port < 65536:
        parser.error(f'--port: expected 0 to 65535, got {args.port}')
    if args.max_size < 1:
        parser.error(f'--max-size: expected at least 1, got {args.max_size}')
    if args.config is None:
        args.config, args.checkpoint = DEMO_CONFIG, DEMO_CHECKPOINT
    elif args.checkpoint is None:
        parser.error('the following argument is required: checkpoint')
    args.network, args.scale, args.optimize = None, 1.0, False
    return args


def main() -> int:
    args = parse_args()
    import ddf_seg.openmmlab  # noqa: F401 isort: skip

    try:
        from ..demo_app import Demo, serve
    except ModuleNotFoundError as error:
        raise UsageError(f'{error.name} is missing: pip install {error.name}') from error
    from ..engine.predicting.drawing import Drawing
    from ..engine.predicting.pytorch import PyTorchBackend

    backend = load_backend(args)
    assert isinstance(backend, PyTorchBackend)
    drawing = Drawing(backend.classes.names, backend.classes.palette, args.opacity)
    demo = Demo(backend, drawing, args.max_size)

    def announce(address: str) -> None:
        print(f'open {address} in a browser; Ctrl-C ends it', flush=True)

    serve(demo, args.host, args.port, announce)
    return 0
