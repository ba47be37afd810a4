"""What the CUDA kernels should need, on paper: python tools/cuda_predict.py

Predicted, not measured. For each pass, the least bytes that must move (every input read once, every
output written once) and the longest of four times: of these bytes at EFFICIENCY of the memory's
bandwidth, of what goes through the L1 caches, of the instructions at one per clock and scheduler,
and of the arithmetic. The paper's own times (RTX 2080 Ti) stand beside them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

# The share of the peak bandwidth that a plain copy reaches on these devices: an assumption.
EFFICIENCY = 0.85
# Instructions of a loop over channels that are neither loads nor arithmetic (addresses, counter,
# branch): an assumption.
LOOP = 10
SHARED_CHANNELS = {3: 4, 5: 2}  # kChannelsShared


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
        batch, channels, height, width = self.shape
        return batch * channels * height * width

    @property
    def least(self) -> float:
        """Bytes of the features, of the output and of the spatial filter; of any pass."""
        return self.elements * self.bytes_each * (2 + self.kernel**2 / self.shape[1])

    @property
    def vector(self) -> int:
        """Pixels of a thread: kPixelPack in element.cuh; 1 where rows are no multiple."""
        pack, most = 16 // self.bytes_each, 100 if self.bytes_each == 4 else 72
        while pack * self.kernel**2 > most:
            pack //= 2
        return pack if self.shape[3] % pack == 0 else 1


@dataclass(frozen=True)
class Pass:
    """What one pass does for each element of the features.

    Attributes:
        loads: bytes that a thread loads or stores through L1.
        instructions: of a thread, of any kind.
        operations: in float32.
    """

    name: str
    loads: float
    instructions: float
    operations: float

    def seconds(self, case: Case, device: Device) -> tuple[float, str]:
        rate = device.processors * device.clock * 1e9
        times = {
            'bytes': case.least / (device.bandwidth * 1e9 * EFFICIENCY),
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
    for name in ('forward', 'grad X'):
        yield Pass(name, loads / vector, instructions / vector, operations)
    yield Pass(
        'grad S', (taps + 1) * size + words, 3 * taps + words + operations + LOOP, operations
    )
    each = SHARED_CHANNELS[case.kernel]
    yield Pass(
        'grad F',
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


def lines() -> Iterator[str]:
    yield 'Predicted, not measured: milliseconds (what bounds them).'
    yield ''
    yield (
        '| features | k | bytes each | pass | least MB | '
        + ' | '.join(d.name for d in DEVICES)
        + ' | paper, 2080 Ti, forward |'
    )
    yield '|---|---|---|---|---|' + '---|' * (len(DEVICES) + 1)
    for case in CASES:
        for each in passes(case):
            times = [each.seconds(case, device) for device in DEVICES]
            cells = ' | '.join(f'{1e3 * t:.2f} ({bound})' for t, bound in times)
            paper = case.paper if each.name == 'forward' else ''
            shape = '×'.join(map(str, case.shape))
            yield (
                f'| {shape} | {case.kernel} | {case.bytes_each} | {each.name} | '
                f'{case.least / 1e6:.0f} | {cells} | {paper} |'
            )
    yield ''
    yield f'Assumed: {EFFICIENCY:.0%} of the peak bandwidth, boost clocks; every tensor moves once:'
    yield 'blocks that run at a time share a tile, so what is read again (rows above and below, the'
    yield 'spatial filter for other channels) comes from L1 or L2; a warp issues one instruction'
    yield 'per clock and scheduler, and waits for nothing.'


def main() -> int:
    sys.stdout.writelines(f'{line}\n' for line in lines())
    return 0


if __name__ == '__main__':
    sys.exit(main())
