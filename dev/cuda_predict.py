"""What the CUDA kernels should need, on paper: python dev/cuda_predict.py

Predicted, not measured. For each pass it prints the least bytes that must move (every input read
once, every output written once), the instructions an element of the kernel that takes it (counted
in its machine code: dev/cuda_report.py), and the longer of two times: for the bytes at EFFICIENCY
of the memory's bandwidth, and for the instructions at one per clock and scheduler.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ddf_seg.command_line import ToolParser, markdown_table, show_usage_errors

BASELINE = Path(__file__).with_name('cuda_baseline.json')
# The share of the peak bandwidth that a plain copy reaches on these devices: an assumption.
EFFICIENCY = 0.9
# The H100's schedulers, each with one instruction of a warp per clock.
SCHEDULERS, WARP = 4, 32


@dataclass(frozen=True)
class Device:
    """NVIDIA's data sheet: memory in GB/s, boost clock in GHz."""

    name: str
    architecture: str
    bandwidth: float
    clock: float
    processors: int


H100 = Device('H100 SXM', '9.0', 3350, 1.755, 132)


@dataclass(frozen=True)
class Case:
    """Features (B, C, H, W), one group, kernel size 3, stride 1; whole vectors fit everywhere."""

    shape: tuple[int, int, int, int]
    dtype: str = 'float32'
    channels_last: bool = False
    scale: int = 1

    @property
    def size(self) -> int:
        """Bytes of an element."""
        return 4 if self.dtype == 'float32' else 2

    @property
    def features(self) -> int:
        """Elements of the features."""
        batch, channels, height, width = self.shape
        return batch * channels * height * width

    @property
    def output(self) -> int:
        """Elements of the output."""
        return self.features * self.scale**2

    @property
    def spatial(self) -> int:
        """Elements of the spatial filter."""
        return 9 * self.output // self.shape[1]

    @property
    def pack(self) -> int:
        """Pixels of a row in a vector."""
        width = 16 // self.size
        while self.shape[3] % width:
            width //= 2
        return width


@dataclass(frozen=True)
class Pass:
    """A pass of a case: the kernel's elements, and the elements that it must move."""

    name: str
    kernel: str
    elements: int
    moved: int


def passes(case: Case) -> Iterator[Pass]:
    """Forward, the features' gradient, and both filters' gradient, each by its kernel."""
    maps = case.features + case.output
    if case.channels_last:
        kernel, transposed = 'filter_channels<3, mul>', 'filter_channels<3, mul, transposed>'
        filters = f'grad_channels<3, mul, {"shared" if case.scale == 1 else "any"}, 4>'
        gathered = case.output  # of a phase at a time
    elif case.scale == 2:
        kernel, transposed = 'upsample<3, mul>', 'upsample_transposed<3, mul>'
        filters, gathered = 'grad_columns<3, mul, shared>', case.output
    else:
        kernel, transposed = (
            f'filter_rows<3, mul, {case.pack}>',
            f'filter_rows<3, mul, transposed, {case.pack}>',
        )
        filters, gathered = 'grad_columns<3, mul, shared>', case.output
    yield Pass('forward', kernel, case.output, maps + case.spatial)
    yield Pass('gradient of X', transposed, gathered, maps + case.spatial)
    yield Pass('gradients of F and S', filters, case.output, maps + 2 * case.spatial)


PAPER = (2, 256, 200, 300)
CASES = (
    Case(PAPER),
    Case(PAPER, channels_last=True),
    Case(PAPER, 'bfloat16'),
    Case(PAPER, 'bfloat16', channels_last=True),
    Case((32, 256, 224, 224)),
    Case((1, 256, 120, 120), scale=2),
    Case((1, 256, 120, 120), channels_last=True, scale=2),
)


def missing_dtypes(device: Device, baseline: dict[str, list[float]]) -> list[str]:
    """Element types of CASES whose instructions nobody has counted for this device."""
    counted = {key.split(' ')[1] for key in baseline if key.startswith(f'{device.architecture} ')}
    return sorted({case.dtype for case in CASES} - counted)


def rows(device: Device, baseline: dict[str, list[float]]) -> Iterator[list[str]]:
    """A row for each pass of each case."""
    for case in CASES:
        if case.dtype in missing_dtypes(device, baseline):
            continue
        for each in passes(case):
            count = baseline[f'{device.architecture} {case.dtype} {each.kernel}'][1]
            issue = device.processors * device.clock * 1e9 * SCHEDULERS * WARP
            times = {
                'bytes': each.moved * case.size / (device.bandwidth * 1e9 * EFFICIENCY),
                'instructions': each.elements * count / issue,
            }
            bound = max(times, key=lambda key: times[key])
            yield [
                '×'.join(map(str, case.shape)) + (f', ×{case.scale}' if case.scale > 1 else ''),
                'channels_last' if case.channels_last else 'contiguous',
                case.dtype,
                each.name,
                each.kernel,
                f'{each.moved * case.size / 1e6:.0f}',
                f'{count:g}',
                f'{times[bound] * 1e6:.0f} ({bound})',
            ]


def report(baseline: dict[str, list[float]]) -> str:
    """All passes in Markdown, and what was assumed."""
    missing = ', '.join(missing_dtypes(H100, baseline))
    note = f'\nNot counted, and left out: {missing}.\n' if missing else ''
    head = ['features', 'layout', 'type', 'pass', 'kernel', 'least MB', 'instructions', 'µs']
    return f"""Predicted for {H100.name}, not measured: microseconds (what bounds them).

{markdown_table(head, list(rows(H100, baseline)))}

Assumed: {EFFICIENCY:.0%} of the peak bandwidth, the boost clock, everything read from memory once;
a scheduler issues an instruction in every clock. So it is the least time, not the likely one.
{note}"""


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__, examples=['python dev/cuda_predict.py > predicted.md'])
    return parser.parse_args()


def main() -> int:
    parse_args()
    sys.stdout.write(report(json.loads(BASELINE.read_text())))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
