"""Fails on torch headers where they must not be: python dev/check_torch_headers.py [OPS]

ops/kernels is C++ on raw pointers and includes no torch header; ops/binding includes those of
torch's stable ABI alone, so that one binary serves every torch.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {'.h', '.hpp', '.cuh', '.c', '.cc', '.cpp', '.cu'}
INCLUDE = re.compile(r'\s*#\s*include(?:_next)?\s*[<"]([^>"]+)[>"]')
# What torch installs into its include directory, and Python's own header.
TORCH = re.compile(r'(.*/)?((torch|ATen|c10|caffe2|pybind11|tensorpipe|kineto)/|Python\.h$)')
STABLE = re.compile(
    r'torch/csrc/stable/|torch/headeronly/|torch/csrc/inductor/aoti_torch/c/shim\.h$'
)


def find_forbidden(ops: Path) -> Iterator[str]:
    """Yields 'file:line: reason' for each include that does not belong."""
    for folder, allowed in (('kernels', None), ('binding', STABLE)):
        for path in sorted((ops / folder).rglob('*')):
            if path.suffix not in SOURCES:
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                include = INCLUDE.match(line)
                if not include or not TORCH.match(include[1]):
                    continue
                if allowed is None:
                    yield f'{path}:{number}: {include[1]}: no torch header in {folder}/'
                elif not allowed.match(include[1]):
                    yield (
                        f'{path}:{number}: {include[1]}: {folder}/ may include torch/csrc/stable/, '
                        'torch/headeronly/ and torch/csrc/inductor/aoti_torch/c/shim.h only'
                    )


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__, examples=['python dev/check_torch_headers.py ops'])
    parser.add_argument(
        'ops', type=Path, nargs='?', default=ROOT / 'ops',
        help='folder with kernels/ and binding/ (default: %(default)s)',
    )  # fmt: skip
    return parser.parse_args()


def main() -> int:
    ops = parse_args().ops
    if not any((ops / folder).is_dir() for folder in ('kernels', 'binding')):
        sys.stderr.write(f'error: {ops}: expected a folder with kernels/ and binding/\n')
        return 1
    forbidden = list(find_forbidden(ops))
    sys.stderr.write(''.join(f'{line}\n' for line in forbidden))
    return int(bool(forbidden))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
