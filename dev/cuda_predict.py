"""What the CUDA kernels should need, on paper: python dev/cuda_predict.py

Predicted, not measured. For each pass it prints the least bytes that must move (every input is read
once, every output written once), the bytes that its blocks ask the L2 cache for (what several tiles
or blocks need counts each time), and the longest of four times: for the bytes at EFFICIENCY of the
memory's bandwidth, for what goes through the L1 caches, for the instructions at one per clock and
scheduler, and for the arithmetic. Of the two times, the first holds if L2 has whatever is asked for
again, the second if it never does. The paper's own times (RTX 2080 Ti) stand beside them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from ddf_seg.command_line import ToolParser, markdown_table, show_usage_errors

# The share of the peak bandwidth that a plain copy reaches on these devices: an assumption.
EFFICIENCY = 0.85
# Instructions of a loop over channels that are neither loads nor arithmetic (addresses, counter,
# branch): an assumption.
LOOP = 10
SHARED_CHANNELS = {3: 4, 5: 2}  # kChannelsShared
# As in ops/kernels/cuda: kThreads, kEnoughBlocks, kMostStagedBytes, and a sector of the L2 cache.
THREADS, ENOUGH_BLOCKS, STAGED_BYTES, SECTOR = 128, 1024, 16 << 10, 32


@dataclass(frozen=True)
class Device:
    """NVIDIA's data sheets: memory in GB/s, boost clock in GHz."""

    name: str
    bandwidth: float
    clock: float
    processors: int
    lanes: int  # float32 operations per multiprocessor and clock
    l1: int  # bytes per multiprocessor and clock


DEVICES = (
    Device('RTX 2080 Ti', 616, 1.545, 68, 64, 64),
    Device('A100 40 GB', 1555, 1.41, 108, 64, 128),
    Device('H100 SXM', 3350, 1.755, 132, 128, 128),
)


@dataclass(frozen=True)
class Case:
    """Features and output (B, C, H, W), one group, stride 1, contiguous."""

    shape: tuple[int, int, int, int]
    kernel: int = 3
    bytes_each: int = 4
    paper: str = ''

    @property
    def elements(self) -> int:
        """Of the features."""
        batch, channels, height, width = self.shape
        return batch * channels * height * width

    @property
    def least(self) -> float:
        """Bytes of the features, of the output and of the spatial filter; of any pass."""
        return 2 * self.map_bytes + self.spatial_bytes

    @property
    def map_bytes(self) -> float:
        """Bytes of the features, and of the output."""
        return self.elements * self.bytes_each

    @property
    def spatial_bytes(self) -> float:
        return self.map_bytes * self.kernel**2 / self.shape[1]

    def tile(self, vector: int) -> tuple[int, int]:
        """Rows and columns of a block's pixels: share_pixels in plan.cuh."""
        width = ceil(self.shape[3] / vector)
        across = 16 if ceil(width / 16) % 2 == 1 and 16 < width < 128 else 32
        return THREADS // across, across * vector

    def with_surroundings(self, vector: int) -> float:
        """What a tile reads over what it covers: rows above and below, a sector on each side."""
        rows, columns = self.tile(vector)
        row_bytes = columns * self.bytes_each
        return (rows + self.kernel - 1) / rows * (row_bytes + 2 * SECTOR) / row_bytes

    def chunks(self, vector: int) -> int:
        """Blocks that share a tile, each with some of the channels: plan_filter_pixels."""
        batch, channels, height, width = self.shape
        rows, columns = self.tile(vector)
        tiles = batch * ceil(height / rows) * ceil(width / columns)
        filter_bytes = (ceil(self.kernel**2 / 4) | 1) * 16
        each = min(channels, STAGED_BYTES // filter_bytes, 64)
        while tiles * ceil(channels / each) < ENOUGH_BLOCKS and each > 8:
            each //= 2
        return ceil(channels / each)

    @property
    def vector(self) -> int:
        """Pixels of a thread: kPixelPack in element.cuh; 1 where rows are no multiple."""
        pack, most = 16 // self.bytes_each, 100 if self.bytes_each == 4 else 72
        while pack * self.kernel**2 > most:
            pack //= 2
        return pack if self.shape[3] % pack == 0 else 1


@dataclass(frozen=True)
class Pass:
    """What one pass does; loads, instructions and operations for each element of the features.

    Attributes:
        asked: bytes that all blocks ask the L2 cache for, or store.
        loads: bytes that a thread loads or stores through L1.
        instructions: of a thread, of any kind.
        operations: in float32.
    """

    name: str
    asked: float
    loads: float
    instructions: float
    operations: float

    def seconds(self, case: Case, device: Device, moved: float) -> tuple[float, str]:
        """The longest of the four times if memory moves so many bytes, and which that is."""
        rate = device.processors * device.clock * 1e9
        times = {
            'bytes': moved / (device.bandwidth * 1e9 * EFFICIENCY),
            'L1': case.elements * self.loads / (rate * device.l1),
            'instructions': case.elements / 32 * self.instructions / (rate * 4),
            'arithmetic': case.elements * self.operations / (rate * device.lanes),
        }
        bound = max(times, key=lambda key: times[key])
        return times[bound], bound


def passes(case: Case) -> Iterator[Pass]:
    """The forward pass and each gradient, as the kernels of kernel size 3 and 5 do them."""
    taps, vector, size = case.kernel**2, case.vector, case.bytes_each
    operations = 2 * taps  # F ∘ S, and a multiply-add with X
    words = -(-taps // 4)  # 128-bit loads of a channel filter, the same for a warp
    if vector > 1:
        edges = 2 * (case.kernel // 2)
        loads = case.kernel * (vector + edges) * size + words + vector * size
        instructions = case.kernel * (1 + edges) + words + operations * vector + 1 + LOOP
    else:
        loads = (taps + 1) * size + words
        instructions = 3 * taps + words + operations + 1 + LOOP  # a tap may lie outside
    around, spatial = case.with_surroundings(vector), case.spatial_bytes * case.chunks(vector)
    for name, spatial_around in (('forward', 1.0), ('grad X', around)):
        asked = case.map_bytes * (1 + around) + spatial * spatial_around
        yield Pass(name, asked, loads / vector, instructions / vector, operations)
    yield Pass(
        'grad S',
        case.map_bytes * (1 + case.with_surroundings(1)) + case.spatial_bytes,
        (taps + 1) * size + words,
        3 * taps + words + operations + LOOP,
        operations,
    )
    each = SHARED_CHANNELS[case.kernel]
    yield Pass(
        'grad F',
        # Tiles of many rows: their surroundings hardly count.
        2 * case.map_bytes + case.spatial_bytes * case.shape[1] / each,
        (taps + 1 + taps / each) * size,
        3 * taps + operations + 1 + (taps + 2 * LOOP) / each,
        operations,
    )


CASES = (
    Case((2, 256, 200, 300), paper='depthwise 1.0 ms, DDF 3.0 ms'),
    Case((32, 256, 224, 224), paper='depthwise 11.97 ms, DDF 28.62 ms'),
    Case((2, 256, 200, 300), kernel=5),
    Case((2, 256, 200, 304), bytes_each=2),
    Case((2, 256, 128, 256)),
)


def times_on(case: Case, each: Pass, device: Device) -> str:
    """Milliseconds and what bounds them, with all of the second readings from L2 and with none."""
    best, bound = each.seconds(case, device, case.least)
    worst, worst_bound = each.seconds(case, device, each.asked)
    bounds = bound if bound == worst_bound else f'{bound}, {worst_bound}'
    return f'{1e3 * best:.2f} to {1e3 * worst:.2f} ({bounds})'


def report() -> str:
    """All passes on all devices in Markdown, and what was assumed."""
    head = ['features', 'k', 'bytes each', 'pass', 'least MB', 'asked MB']
    rows = []
    for case in CASES:
        for each in passes(case):
            rows.append(
                [
                    '×'.join(map(str, case.shape)),
                    str(case.kernel),
                    str(case.bytes_each),
                    each.name,
                    f'{case.least / 1e6:.0f}',
                    f'{each.asked / 1e6:.0f}',
                    *(times_on(case, each, device) for device in DEVICES),
                    case.paper if each.name == 'forward' else '',
                ]
            )
    head += [*(device.name for device in DEVICES), 'paper, 2080 Ti, forward']
    return f"""Predicted, not measured: milliseconds (what bounds them).

{markdown_table(head, rows)}

Assumed: {EFFICIENCY:.0%} of the peak bandwidth, boost clocks; a warp issues one
instruction per clock and scheduler, and waits for nothing. Two times: if whatever is
asked for again (rows above and below, the spatial filter for other channels) is still
in L2, and if it never is. Blocks that run at a time share a tile: the first should be
the nearer one.
"""


def parse_args() -> argparse.Namespace:
    parser = ToolParser(description=__doc__, examples=['python dev/cuda_predict.py > predicted.md'])
    return parser.parse_args()


def main() -> int:
    parse_args()
    sys.stdout.write(report())
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
