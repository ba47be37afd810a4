"""The section on memory: the same calls where freed memory is kept and where it is not."""

from __future__ import annotations

import ctypes.util
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..measure import Ceilings, Run, Settings, Timing, with_faults
from .cases import LAYOUTS, Case, text
from .operators import SPATIAL_LARGE, SPATIAL_OTHERS, is_large
from .report import Check, Row

# Targets where memory is kept, of the baseline's time
BOTH_LARGE = 1.0
BACKWARD_LARGE, BACKWARD_OTHERS = 0.75, 1.0
SPATIAL_OF_INTERPOLATE = 0.3
# The one that the targets are judged in: its memory is reused, so that the kernel's work is left.
WARM = 'tcmalloc'
_LIBRARIES = {WARM: 'tcmalloc_minimal', 'jemalloc': 'jemalloc'}
_KEEPING = {
    'MALLOC_MMAP_MAX_': '0',
    'MALLOC_TRIM_THRESHOLD_': str(16 << 30),
    'MALLOC_TOP_PAD_': str(256 << 20),
}


def regimes() -> dict[str, dict[str, str]]:
    """Name to what a process of that regime has in its environment; says what is not installed."""
    found: dict[str, dict[str, str]] = {'glibc': {}, 'glibc that keeps': dict(_KEEPING)}
    for name, library in _LIBRARIES.items():
        file = ctypes.util.find_library(library)
        if file is None:
            sys.stderr.write(f'note: {name} is left out: there is no lib{library}\n')
        else:
            found[name] = {'LD_PRELOAD': file}
    return found


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Of processes that start meanwhile: these, and no others that choose or tune an allocator."""
    before = dict(os.environ)
    for name in before:
        if name == 'LD_PRELOAD' or name.startswith(('MALLOC_', 'TCMALLOC_', 'GLIBC_TUNABLES')):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def regime_rows(settings: Settings, ceilings: Ceilings, cases: list[Case]) -> Iterator[Row]:
    """Rows of each case in each regime, forward and, for `ddf`, backward."""
    calls = [
        (case, direction)
        for case in cases
        for direction in (('forward', 'backward') if case.scale == 1 else ('forward',))
    ]
    timings = {}
    for regime, variables in regimes().items():
        sys.stderr.write(f'regimes: {regime} …\n')
        timings[regime] = _in_a_process(variables, settings, calls)
    for number, (case, direction) in enumerate(calls):
        for regime, measured in timings.items():
            yield _row(case, direction, regime, measured[number], is_large(case, ceilings))


def _row(
    case: Case, direction: str, regime: str, timings: Mapping[str, Timing], large: bool
) -> Row:
    best = {
        what: min((timings[f'{what} {layout}'] for layout in LAYOUTS), key=lambda t: t.seconds)
        for what in ('baseline', 'both', 'spatial')
    }
    ratio = {what: best[what].seconds / best['baseline'].seconds for what in ('both', 'spatial')}
    operator = 'ddf' if case.scale == 1 else f'ddf_upsample ×{case.scale}, k = {case.kernel_size}'
    cells: dict[str, str | float] = {
        'operator': f'{operator}, {direction}',
        'shape': text(case.shape) + (' (large)' if large else ''),
        'memory': regime,
    }
    for what, timing in best.items():
        cells[f'{what} ms'] = timing.seconds * 1e3
        cells[f'{what} faults'] = timing.faults
    cells['both of baseline'] = ratio['both']
    cells['spatial of baseline'] = ratio['spatial']
    return Row(cells, _checks(case, direction, ratio, large) if regime == WARM else [])


def _checks(case: Case, direction: str, ratio: Mapping[str, float], large: bool) -> list[Check]:
    if case.scale > 1:
        return [Check('spatial', ratio['spatial'], SPATIAL_OF_INTERPOLATE)]
    if direction == 'backward':
        target = BACKWARD_LARGE if large else BACKWARD_OTHERS
        return [Check('both', ratio['both'], target)]
    checks = [Check('spatial', ratio['spatial'], SPATIAL_LARGE if large else SPATIAL_OTHERS)]
    if large:
        checks.append(Check('both', ratio['both'], BOTH_LARGE))
    return checks


def _in_a_process(
    variables: Mapping[str, str], settings: Settings, calls: list[tuple[Case, str]]
) -> list[dict[str, Timing]]:
    context = multiprocessing.get_context('spawn')
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(send, settings, calls))
    with environment(variables):
        process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError as error:
        raise RuntimeError('the process that measures a regime has died, see above') from error
    finally:
        process.join()


@torch.no_grad()
def _measure(send: Any, settings: Settings, calls: list[tuple[Case, str]]) -> None:
    library = os.environ.get('LD_PRELOAD')
    # The loader goes on without a library that it does not find.
    if library and library not in Path('/proc/self/maps').read_text():
        raise RuntimeError(f'LD_PRELOAD: expected {library} to be loaded, and it is not')
    torch.set_num_threads(settings.threads)
    send.send([with_faults(settings, _contestants(case, direction)) for case, direction in calls])


def _contestants(case: Case, direction: str) -> dict[str, Run]:
    case = replace(case)  # whose tensors end with the call
    contestants: dict[str, Run] = {}
    for layout in LAYOUTS:
        if case.scale > 1:
            baseline = case.interpolate
        else:
            baseline = case.depthwise if direction == 'forward' else case.depthwise_backward
        contestants[f'baseline {layout}'] = baseline(layout)
        for branches in ('both', 'spatial'):
            contestants[f'{branches} {layout}'] = getattr(case, direction)(layout, branches)
    return contestants
