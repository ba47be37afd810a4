"""The sections of the benchmark, measured one after the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ddf_seg.ops import native

from ..measure import Ceilings, Settings, full_float32, machine, measure_ceilings
from . import SECTIONS, costs, layers, operators, regimes
from .cases import SHAPES, UPSAMPLE_SHAPE, Case
from .report import Row, Table

QUICK_SHAPES = ((1, 16, 12, 20), (8, 32, 7, 7))
QUICK_UPSAMPLE_SHAPE = (1, 16, 10, 12)
# The other sections have targets for a CPU alone.
JUDGED_ON_GPU = ('forward', 'backward')


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        sections: of SECTIONS.
        dtypes: names of element types.
        kernel_sizes: of forward and backward.
        settings: device, seconds for each comparison, threads.
        quick: small shapes, nothing judged.
    """

    sections: Sequence[str]
    dtypes: Sequence[str]
    kernel_sizes: Sequence[int]
    settings: Settings
    quick: bool


def section_rows(name: str, request: Request, ceilings: Ceilings) -> Iterator[Row]:
    """Measures a section, row by row."""
    settings, quick = request.settings, request.quick
    shapes = QUICK_SHAPES if quick else SHAPES
    dtypes = [getattr(torch, dtype) for dtype in request.dtypes]
    upsample_shape = QUICK_UPSAMPLE_SHAPE if quick else UPSAMPLE_SHAPE
    first = [Case(shape, torch.float32, settings.device) for shape in shapes]
    upsampled = operators.upsample_cases(settings, upsample_shape, [torch.float32])[:1]
    if name in ('forward', 'backward'):
        cases = [
            Case(shape, dtype, settings.device, kernel_size)
            for kernel_size in request.kernel_sizes
            for dtype in dtypes
            for shape in shapes
        ]
        return operators.depthwise_rows(settings, ceilings, cases, name == 'backward')
    if name == 'upsample':
        cases = operators.upsample_cases(settings, upsample_shape, dtypes)
        return operators.upsample_rows(settings, ceilings, cases)
    rows: dict[str, Callable[[], Iterator[Row]]] = {
        'branches': lambda: operators.branch_rows(settings, ceilings, first),
        'threads': lambda: operators.thread_rows(settings, ceilings, first + upsampled),
        'regimes': lambda: regimes.regime_rows(
            settings,
            ceilings,
            first + operators.upsample_cases(settings, upsample_shape, [torch.float32]),
        ),
        'memory': lambda: operators.memory_rows(settings, first[:2] + upsampled),
        'layers': lambda: layers.layer_rows(settings, quick),
        'costs': lambda: costs.cost_rows(settings, quick),
    }
    return rows[name]()


def _lacking(name: str, settings: Settings) -> str:
    """What a section needs and is not there, or nothing."""
    on_cpu = settings.device.type == 'cpu'
    if name == 'threads' and not (on_cpu and settings.threads > 1):
        return 'two threads on a CPU'
    if name == 'regimes' and not (on_cpu and sys.platform.startswith('linux')):
        return 'a CPU under Linux'
    return ''


@torch.no_grad()
@full_float32()
def measure(request: Request) -> tuple[dict[str, Any], list[Table]]:
    """The circumstances, and a table for each section; progress goes to stderr."""
    settings = request.settings
    sys.stderr.write('ceilings …\n')
    ceilings = measure_ceilings(settings)
    circumstances = {
        'machine': machine(settings.device),
        'threads': settings.threads,
        'torch': torch.__version__,
        'operators': str(native.load('cpu')),
        **asdict(ceilings),
    }
    tables = []
    for name in request.sections:
        rows = []
        judged = settings.device.type == 'cpu' or name in JUDGED_ON_GPU
        lacking = _lacking(name, settings)
        if lacking:
            sys.stderr.write(f'note: {name} is left out: it needs {lacking}\n')
            continue
        for row in section_rows(name, request, ceilings):
            if request.quick or not judged:
                row = Row(row.cells)
            rows.append(row)
            what = ' '.join(each for each in row.cells.values() if isinstance(each, str))
            # Some rows have no targets.
            verdicts = '; '.join(map(str, row.checks)) or 'done'
            sys.stderr.write(f'{name}: {what}: {verdicts}\n')
        tables.append(Table(name, SECTIONS[name], rows))
    return circumstances, tables
