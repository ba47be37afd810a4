"""Measures cells in turns, as many side by side as memory holds, and keeps what is done."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ddf_seg.errors import UsageError
from ddf_seg.files import write_whole

from .. import resident
from .exporting import export
from .forms import Cell, needs
from .networks import image
from .processes import CellFailure, Running, Turn, isolated

# Forms that compute in float32 give PyTorch's classes but for ties.
_LEAST_AGREEMENT = 0.999
_SPARE = 1 << 30


@dataclass
class Result:
    """What was measured of a cell.

    Attributes:
        row, form, size: the cell.
        failure: why nothing was measured, or ''.
        group: those with the same number took turns.
        wall, cpu: median seconds for an image, by the clock and of processor time.
        least: of the seconds by the clock.
        faults: median number of pages faulted in for an image.
        peak: most bytes that were resident in the process, from the first image on.
        loaded: bytes that were resident before it.
        agreement: share of pixels that get the class that PyTorch gives.
        start: seconds to load the form and run two images.
    """

    row: str
    form: str
    size: tuple[int, int]
    failure: str = ''
    group: int = 0
    wall: float = 0.0
    least: float = 0.0
    cpu: float = 0.0
    faults: float = 0.0
    peak: int = 0
    loaded: int = 0
    agreement: float = 0.0
    start: float = 0.0

    @property
    def key(self) -> tuple[str, str, tuple[int, int]]:
        return self.row, self.form, self.size


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        rows, forms: of `ROWS` and `FORMS`.
        sizes: heights and widths.
        threads: of each process.
        rounds: turns of each cell.
        out: folder for the results and for exported files.
        limit: seconds that an export or the start of a cell may take.
    """

    rows: Sequence[str]
    forms: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    threads: int
    rounds: int
    out: Path
    limit: float


@dataclass
class Results:
    """All results so far, and where they were measured.

    Attributes:
        circumstances: machine, versions and threads; results of others are not mixed with them.
        cells: by row, form and size.
    """

    circumstances: dict[str, Any]
    cells: dict[tuple[str, str, tuple[int, int]], Result]

    def save(self, file: Path) -> None:
        content = dict(self.circumstances, cells=[asdict(cell) for cell in self.cells.values()])
        write_whole(file, json.dumps(content, indent=1).encode())


def read_results(file: Path, threads: int) -> Results:
    """The results in a file, or none if there is no file.

    Raises:
        UsageError: they are of another machine, other versions or another number of threads.
    """
    now = _circumstances(threads)
    if not file.exists():
        return Results(now, {})
    known = json.loads(file.read_text())
    cells = [Result(**{**cell, 'size': tuple(cell['size'])}) for cell in known.pop('cells')]
    if differ := [f'{key} {known.get(key)}' for key in now if now[key] != known.get(key)]:
        raise UsageError(
            f'--out: {file} was measured with {", ".join(differ)}; expected '
            f'{", ".join(f"{key} {now[key]}" for key in now if now[key] != known.get(key))}. '
            'Name another folder'
        )
    return Results(now, {cell.key: cell for cell in cells})


def measure(request: Request, say: Callable[[str], None]) -> Results:
    """Measures what is not measured yet; cells that failed are tried again.

    Args:
        request: what.
        say: is told what happens, a line at a time.

    Raises:
        UsageError: as `read_results`.
    """
    resident.check_system()
    file = request.out / 'results.json'
    results = read_results(file, request.threads)
    os.environ['OMP_NUM_THREADS'] = str(request.threads)
    for size in request.sizes:
        waiting = [
            Cell(row, form, size, request.threads, request.out)
            for form in request.forms
            for row in request.rows
            if (found := results.cells.get((row, form, size))) is None or found.failure
        ]
        rows = dict.fromkeys(cell.row for cell in waiting)
        by_row = [[cell for cell in waiting if cell.row == row] for row in rows]
        # An export keeps one core busy.
        with ThreadPoolExecutor(request.threads) as pool:
            failed = list(pool.map(lambda cells: _export(cells, request.limit, say), by_row))
        for cell, why in chain.from_iterable(failed):
            waiting.remove(cell)
            _keep(results, file, _result(cell, failure=why))
        while waiting:
            _measure_group(waiting, request, results, say)
            results.save(file)
    return results


def _circumstances(threads: int) -> dict[str, Any]:
    import torch

    from ..measure import machine

    versions = {}
    for package in ('torch', 'onnxruntime', 'openvino'):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = 'none'
    return dict(
        machine=machine(torch.device('cpu')),
        cores=os.cpu_count(),
        python=platform.python_version(),
        threads=threads,
        **versions,
    )


def _result(cell: Cell, **values: Any) -> Result:
    return Result(cell.row, cell.form, cell.size, **values)


def _keep(results: Results, file: Path, result: Result) -> None:
    results.cells[result.key] = result
    results.save(file)


def _export(
    cells: Sequence[Cell], limit: float, say: Callable[[str], None]
) -> list[tuple[Cell, str]]:
    """Writes the files that the cells of a row need; returns those that lack theirs, and why."""
    first = cells[0]
    suffixes = sorted({needs(cell.form) for cell in cells} - {''})
    missing = [suffix for suffix in suffixes if not first.file(suffix).exists()]
    if first.file('.npy').exists() and not missing:
        return []
    say(f'{first.row}, {first.size[0]}×{first.size[1]}: exporting {", ".join(missing)}')
    try:
        failed: dict[str, str] = isolated(export, first, missing, limit=limit)
    except CellFailure as failure:
        return [(cell, str(failure)) for cell in cells]
    return [(cell, failed[needs(cell.form)]) for cell in cells if needs(cell.form) in failed]


def _measure_group(
    waiting: list[Cell], request: Request, results: Results, say: Callable[[str], None]
) -> None:
    """Starts cells, as many as memory holds, lets them take turns, and takes them off the list."""
    group = 1 + max((result.group for result in results.cells.values()), default=0)
    running: list[Running] = []
    largest = 0
    try:
        while waiting and (not running or resident.available() > largest + _SPARE):
            before = resident.available()
            cell = waiting.pop(0)
            say(f'{cell}: starting')
            try:
                running.append(_start(cell, request.limit))
            except CellFailure as failure:
                say(f'{cell}: {failure}')
                results.cells[_result(cell).key] = _result(cell, failure=str(failure))
            largest = max(largest, before - resident.available())
        turns: list[list[Turn]] = [[] for _ in running]
        for done in range(request.rounds):
            say(f'group {group}, {len(running)} cells: round {done + 1} of {request.rounds}')
            for of_cell, process in zip(turns, running, strict=True):
                of_cell.append(process.turn())
        for of_cell, process in zip(turns, running, strict=True):
            result = _summary(process, of_cell, group)
            results.cells[result.key] = result
    finally:
        for process in running:
            process.kill()


def _start(cell: Cell, limit: float) -> Running:
    process = Running(cell, image(cell.size), limit)
    exact = not cell.form.endswith(('bf16', 'int8'))
    agreement = _agreement(process)
    if exact and agreement < _LEAST_AGREEMENT:
        process.kill()
        raise CellFailure(f'{1 - agreement:.1%} of the pixels get another class than by PyTorch')
    return process


def _agreement(process: Running) -> float:
    expected = np.load(process.cell.file('.npy'))
    return float((process.started.ids == expected).mean())


def _summary(process: Running, turns: Sequence[Turn], group: int) -> Result:
    agreement = _agreement(process)
    return _result(
        process.cell,
        group=group,
        wall=statistics.median(turn.wall for turn in turns),
        least=min(turn.wall for turn in turns),
        cpu=statistics.median(turn.cpu for turn in turns),
        faults=statistics.median(turn.faults for turn in turns),
        agreement=agreement,
        loaded=process.started.loaded,
        start=process.started.seconds,
        peak=process.stop(),
    )
