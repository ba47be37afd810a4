"""The runs' results side by side: means, and paired differences to one of the rows."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddf_seg.command_line import markdown_table
from ddf_seg.errors import UsageError, in_a_line

from ..runs import check_lengths, difference_cell

# The order of a table; what is not here does not stand in one.
ORDER = (
    *('trained', 'continued', 'upgraded-no-context', 'upgraded'),
    *('bilinear', 'bilinear-wide', 'carafe', 'sapa', 'dysample'),
    *('ddf-residual', 'ddf-3x3', 'ddf-no-context', 'ddf'),
)
# Heading of a column, the score, and its decimals. All are in per cent, but for the last.
SCORES = (
    ('boundary IoU', 'mBIoU', 2),
    ('mIoU within 3 px', 'mIoU_trimap_3', 2),
    ('mIoU', 'mIoU', 2),
    ('thin classes', 'thin', 2),
    ('loss at borders', 'nll', 3),
)

Runs = dict[tuple[str, int], dict[str, Any]]


def read_result(file: Path) -> dict[str, Any]:
    """What a run left.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        run: dict[str, Any] = json.loads(file.read_text())
        run['split'], run['seed'], run['row'], run['iterations'], run['scores']['mIoU']
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: expected a run's result: {in_a_line(error)}") from error
    return run


def read_rows(results: Path, host: str, kind: str) -> dict[str, Runs]:
    """The results of a host's rows, each by split and seed.

    Args:
        results: folder with the JSON files.
        host: see `hosts.rows`.
        kind: of the splits, 'block' or 'drive'.

    Raises:
        UsageError: there are none, one is damaged, or not all were trained for as long.
    """
    found: dict[str, Runs] = {}
    for file in sorted(results.glob(f'{host}-*.json')):
        run = read_result(file)
        if run['split'].startswith(kind):
            found.setdefault(run['row'], {})[run['split'], run['seed']] = run
    if not found:
        raise UsageError(f'{results}: no results of {host} on splits by {kind}')
    check_lengths(results, (run['iterations'] for runs in found.values() for run in runs.values()))
    return {name: found[name] for name in ORDER if name in found}


def table(rows: dict[str, Runs], to: str) -> str:
    """Means of the rows and differences to one of them, as Markdown.

    Raises:
        UsageError: that one has no results.
    """
    if to not in rows:
        raise UsageError(f'--to: expected one of {", ".join(rows)}, got {to}')
    head = ['row', 'runs', 'parameters']
    for title, _, _ in SCORES:
        head += [title, f'{title} to {to}']
    return markdown_table(head, [_cells(name, runs, rows[to]) for name, runs in rows.items()])


def _cells(name: str, runs: Runs, to: Runs) -> Sequence[str]:
    first = next(iter(runs.values()))
    cells = [name, str(len(runs)), f'{first["parameters"] / 1e3:.0f} k']
    for _, score, digits in SCORES:
        cells.append(f'{statistics.fmean(r["scores"][score] for r in runs.values()):.{digits}f}')
        cells.append(difference_cell(runs, to, score, digits))
    return cells
