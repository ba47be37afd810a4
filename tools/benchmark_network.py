"""Times networks that differ in their upsampling, in every runtime: latency and memory.

Bilinear interpolation, CARAFE, DySample and DDF in the study's SegFormer head, and DDFHead, all on
EfficientNet-Lite0 with random weights, each from a uint8 image to class ids. Each network in each
form has a process of its own; all take turns. Writes results.json, results.md and the exported
networks to --out, and goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

from ddf_benchmarks.network import FORMS, ROWS
from ddf_seg.command_line import ToolParser, count, output_errors, show_usage_errors


def size(text: str) -> tuple[int, int]:
    height, cross, width = text.replace('×', 'x').partition('x')
    if not (cross and height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'expected HEIGHTxWIDTH in pixels, got {text!r}')
    return int(height), int(width)


def parse_args() -> argparse.Namespace:
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python tools/benchmark_network.py --threads 2',
            'python tools/benchmark_network.py --rows bilinear ddf --forms eager openvino-f32 \\\n'
            '    --sizes 96x128 --rounds 5 --out work_dirs/quick',
        ],
    )
    parser.add_argument('--rows', nargs='+', choices=ROWS, default=list(ROWS), help='networks')
    parser.add_argument(
        '--forms', nargs='+', choices=FORMS, default=list(FORMS), help='how they run'
    )
    parser.add_argument(
        '--sizes', nargs='+', type=size, default=[(360, 480), (1024, 2048)], metavar='HxW',
        help='of the image (default: 360x480 1024x2048)',
    )  # fmt: skip
    parser.add_argument('--threads', type=count, default=1, help='of each process')
    parser.add_argument('--rounds', type=count, default=15, help='images for each cell')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/benchmark_network'), help='folder for results'
    )
    parser.add_argument(
        '--limit', type=count, default=1800, metavar='S',
        help='seconds that one export, or the start of one cell, may take',
    )  # fmt: skip
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from rich.console import Console

    from ddf_benchmarks.network.measuring import Request, measure
    from ddf_benchmarks.network.report import report
    from ddf_seg.files import write_whole

    with output_errors('--out'):
        args.out.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    request = Request(
        args.rows, args.forms, args.sizes, args.threads, args.rounds, args.out, args.limit
    )
    with console.status('') as status:
        results = measure(request, status.update)
    text = report(results)
    write_whole(args.out / 'results.md', f'{text}\n'.encode())
    print(text)
    return int(any(cell.failure for cell in results.cells.values()))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
