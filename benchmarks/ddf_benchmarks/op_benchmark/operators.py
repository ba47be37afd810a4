"""The sections on the operators: forward, backward, upsampling, threads, memory."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ..measure import Ceilings, Run, Settings, peak_beyond_result, side_by_side
from .cases import LAYOUTS, SCALE, Case, Floor, Shape, text
from .report import Check, Row

# Targets: ratios of times, fractions of the floor
FORWARD_LARGE, FORWARD_OTHERS = 0.28, 1.0
BACKWARD_LARGE, BACKWARD_OTHERS = 0.7, 1.2
SAME_FORMAT = 1.2
SPATIAL_LARGE, SPATIAL_OTHERS = 0.9, 1.05
OF_FLOOR = 0.65
# Instead of the ratio, where the arithmetic alone takes longer than the ratio allows
OF_ARITHMETIC_FLOOR = 0.75
BFLOAT16_OF_FLOAT32 = 0.7
COMPOSITION_SPEEDUP = 3.0
OF_INTERPOLATE = 0.2
THREADS_SPEEDUP = 1.8
# On a GPU: of the time that a copy of as many bytes takes, and of depthwise in the same format
GPU_OF_BYTES, GPU_OF_DEPTHWISE = 1.3, 1.0
# Of all channels, in float32
ROWS_A_THREAD = 8

SHORT = {'contiguous': 'nchw', 'channels_last': 'nhwc'}


def _ms(seconds: float) -> float:
    return seconds * 1e3


def is_large(case: Case, ceilings: Ceilings) -> bool:
    """Whether the feature map fills the last-level cache in float32."""
    return 4 * torch.Size(case.shape).numel() >= ceilings.cache


def ratio_check(times: tuple[float, float], what: str, target: float, floor: Floor) -> Check:
    """(ours, theirs) against the target, or against the arithmetic floor where that forbids it."""
    ours, theirs = times
    if floor.arithmetic > target * theirs:
        note = f'{what} {ours / theirs:.2f}: {target:g} is below the arithmetic floor'
        return Check(
            'of arithmetic floor', floor.arithmetic / ours, OF_ARITHMETIC_FLOOR, False, note
        )
    return Check(what, ours / theirs, target)


def depthwise_rows(
    settings: Settings, ceilings: Ceilings, cases: list[Case], backward: bool
) -> Iterator[Row]:
    """Rows of `ddf` against depthwise convolution, in both memory formats."""
    float32: dict[tuple[Shape, int], float] = {}
    for case in cases:
        case.assert_depthwise_agrees(backward)
        contestants: dict[str, Run] = {
            'copy': case.copy(backward),
            'fresh copy': case.copy(backward, fresh=True),
        }
        for layout, short in SHORT.items():
            contestants[short] = (case.backward if backward else case.forward)(layout)
            theirs = case.depthwise_backward if backward else case.depthwise
            contestants[f'depthwise {short}'] = theirs(layout)
        if settings.device.type == 'cuda' and not backward and case.kernel_size == 3:
            contestants['unfold'] = case.unfold()
        times = side_by_side(settings, contestants)
        ours = min(times[short] for short in SHORT.values())
        depthwise = min(times[f'depthwise {short}'] for short in SHORT.values())
        floor = case.floor(ceilings, times['copy'], backward)
        checks = []
        large, on_gpu = is_large(case, ceilings), settings.device.type == 'cuda'
        judged = case.kernel_size == 3 and case.dtype == torch.float32
        same = max(times[s] / times[f'depthwise {s}'] for s in SHORT.values())
        # Other kernel sizes are for the report.
        if judged and on_gpu:
            if not backward:
                checks.append(Check('of the bytes', ours / floor.memory, GPU_OF_BYTES))
            checks.append(Check('of depthwise in the same format', same, GPU_OF_DEPTHWISE))
        elif judged:
            by_size = (
                (BACKWARD_LARGE, BACKWARD_OTHERS) if backward else (FORWARD_LARGE, FORWARD_OTHERS)
            )
            target = by_size[0] if large else by_size[1]
            checks.append(ratio_check((ours, depthwise), 'of depthwise', target, floor))
            if not backward:
                checks.append(Check('of depthwise in the same format', same, SAME_FORMAT))
            if large:
                checks.append(Check('of floor', floor.seconds / ours, OF_FLOOR, False))
        key = case.shape, case.kernel_size
        if case.dtype == torch.float32:
            float32[key] = ours
        elif not (backward or on_gpu) and large and case.kernel_size == 3 and key in float32:
            checks.append(Check('of float32', ours / float32[key], BFLOAT16_OF_FLOAT32))
        yield Row(
            {
                'shape': text(case.shape) + (' (large)' if large else ''),
                'dtype': str(case.dtype).removeprefix('torch.'),
                'k': str(case.kernel_size),
                'nchw ms': _ms(times['nchw']),
                'nhwc ms': _ms(times['nhwc']),
                'depthwise nchw ms': _ms(times['depthwise nchw']),
                'depthwise nhwc ms': _ms(times['depthwise nhwc']),
                'ratio of the better': ours / depthwise,
                'floor ms': _ms(floor.seconds),
                'bound by': floor.bound,
                'fresh copy ms': _ms(times['fresh copy']),
                'of floor': f'{100 * floor.seconds / ours:.0f} %',
                **({'unfold ms': _ms(times['unfold'])} if 'unfold' in times else {}),
            },
            checks,
        )


def branch_rows(settings: Settings, ceilings: Ceilings, cases: list[Case]) -> Iterator[Row]:
    """Rows of `ddf` with one filter, beside both and depthwise convolution, forward."""
    for case in cases:
        case.assert_one_filter_agrees()
        contestants: dict[str, Run] = {}
        for layout in LAYOUTS:
            for branches in ('both', 'spatial', 'channel'):
                contestants[f'{branches} {layout}'] = case.forward(layout, branches)
            contestants[f'depthwise {layout}'] = case.depthwise(layout)
        times = side_by_side(settings, contestants)
        best = {
            what: min(times[f'{what} {layout}'] for layout in LAYOUTS)
            for what in ('both', 'spatial', 'channel', 'depthwise')
        }
        target = SPATIAL_LARGE if is_large(case, ceilings) else SPATIAL_OTHERS
        of_depthwise = best['spatial'] / best['depthwise']
        yield Row(
            {
                'shape': text(case.shape) + (' (large)' if is_large(case, ceilings) else ''),
                **{f'{what} ms': _ms(seconds) for what, seconds in best.items()},
                'spatial of depthwise': of_depthwise,
            },
            [Check('spatial of depthwise', of_depthwise, target)],
        )


def upsample_rows(settings: Settings, ceilings: Ceilings, cases: list[Case]) -> Iterator[Row]:
    """Rows of `ddf_upsample` against the authors' composition and bilinear interpolation."""
    for case in cases:
        case.assert_composition_agrees()
        for layout, short in SHORT.items():
            contestants = {
                'copy': case.copy(),
                'fresh copy': case.copy(fresh=True),
                'ours': case.forward(layout),
                'composition': case.composition(layout),
                'interpolate': case.interpolate(layout),
            }
            carafe = case.carafe(layout)
            if carafe is not None:
                contestants['carafe'] = carafe
            times = side_by_side(settings, contestants)
            floor = case.floor(ceilings, times['copy'])
            speedup = times['composition'] / times['ours']
            of_interpolate = times['ours'] / times['interpolate']
            checks = []
            if case.dtype == torch.float32:
                checks.append(Check('times the composition', speedup, COMPOSITION_SPEEDUP, False))
                if case.kernel_size == 3 and layout == 'contiguous':
                    checks.append(Check('of interpolate', of_interpolate, OF_INTERPOLATE))
            yield Row(
                {
                    'shape': text(case.shape),
                    'dtype': str(case.dtype).removeprefix('torch.'),
                    'k': str(case.kernel_size),
                    'format': short,
                    'ms': _ms(times['ours']),
                    'r² ddf + stack + pixel_shuffle ms': _ms(times['composition']),
                    'bilinear ms': _ms(times['interpolate']),
                    'floor ms': _ms(floor.seconds),
                    'bound by': floor.bound,
                    'fresh copy ms': _ms(times['fresh copy']),
                    'of floor': f'{100 * floor.seconds / times["ours"]:.0f} %',
                    **({'mmcv CARAFE ms': _ms(times['carafe'])} if carafe is not None else {}),
                },
                checks,
            )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _on(threads: int, run: Run) -> Run:
    def call() -> None:
        with _threads(threads):
            run()

    return call


def thread_rows(settings: Settings, ceilings: Ceilings, cases: list[Case]) -> Iterator[Row]:
    """Rows of one thread against all of them."""
    several = settings.threads
    for case in cases:
        for direction in ('forward', 'backward'):
            runs = {
                'copy': case.copy(direction == 'backward'),
                **{short: getattr(case, direction)(layout) for layout, short in SHORT.items()},
            }
            times = side_by_side(
                settings,
                {
                    f'{name} {count}': _on(count, run)
                    for name, run in runs.items()
                    for count in (1, several)
                },
            )
            gains = {name: times[f'{name} 1'] / times[f'{name} {several}'] for name in runs}
            checks = []
            if case.scale == 1 and is_large(case, ceilings):
                gain = min(gains[short] for short in SHORT.values())
                checks.append(Check(f'times faster on {several}', gain, THREADS_SPEEDUP, False))
            yield Row(
                {
                    'operator': 'ddf' if case.scale == 1 else 'ddf_upsample',
                    'shape': text(case.shape),
                    'direction': direction,
                    **{f'{s} 1 thread ms': _ms(times[f'{s} 1']) for s in SHORT.values()},
                    **{
                        f'{s} {several} threads ms': _ms(times[f'{s} {several}'])
                        for s in SHORT.values()
                    },
                    **{f'{s} gain': gains[s] for s in SHORT.values()},
                    "a copy's gain": gains['copy'],
                },
                checks,
            )


def _calls(case: Case, what: str, threads: int) -> tuple[Run, Run]:
    """A small call of the same kind, then the one to measure, its inputs made."""
    torch.set_num_threads(threads)
    small = Case((1, 8, 8, 8), case.dtype, case.device, case.kernel_size, case.scale)
    runs = []
    for each in (small, case):
        if what == 'unfold':
            runs.append(each.unfold())
        else:
            direction, layout = what.split(' ')
            runs.append(getattr(each, direction)(layout))
    return runs[0], runs[1]


def memory_rows(settings: Settings, cases: list[Case]) -> Iterator[Row]:
    """Rows of what a call allocates beyond its result, and of the unfold formulation's time."""
    for case in cases:
        whats = [
            f'{direction} {layout}' for direction in ('forward', 'backward') for layout in LAYOUTS
        ]
        if case.scale == 1:
            case.assert_unfold_agrees()
            whats.append('unfold')
        peaks = {
            what: peak_beyond_result(
                # Without the tensors that the case has made: passed on as shared memory, they would
                # become resident during the call, and count as its own.
                functools.partial(_calls, replace(case), what, settings.threads),
                case.device,
            )
            / 2**20
            for what in whats
        }
        # A few rows for each thread, and the pages that an allocator rounds up to
        channels, width = case.output_shape[1], case.output_shape[3]
        limit = 1 + settings.threads * ROWS_A_THREAD * channels * width * 4 / 2**20
        largest = max(size for what, size in peaks.items() if what != 'unfold')
        cells: dict[str, str | float] = {
            'operator': 'ddf' if case.scale == 1 else 'ddf_upsample',
            'shape': text(case.shape),
            'output MiB': case.output_elements * case.dtype.itemsize / 2**20,
            **{
                f'{what.split()[0]} {SHORT[what.split()[1]]} MiB': max(0.0, size)
                for what, size in peaks.items()
                if what != 'unfold'
            },
        }
        if case.scale == 1:
            times = side_by_side(
                settings, {'ours': case.forward('contiguous'), 'unfold': case.unfold()}
            )
            cells['unfold MiB'] = peaks['unfold']
            cells['unfold ms'] = _ms(times['unfold'])
            cells['forward nchw ms'] = _ms(times['ours'])
        yield Row(cells, [Check('MiB', largest, limit, note=f'{ROWS_A_THREAD} rows a thread + 1')])


def upsample_cases(settings: Settings, shape: Shape, dtypes: list[torch.dtype]) -> list[Case]:
    return [
        Case(shape, dtype, settings.device, kernel_size, SCALE)
        for kernel_size in (3, 5)
        for dtype in dtypes
    ]
