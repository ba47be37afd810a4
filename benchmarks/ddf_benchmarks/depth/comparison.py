"""The rows' results side by side."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from ddf_seg.command_line import markdown_table
from ddf_seg.errors import UsageError, in_a_line

from ..runs import check_lengths, difference_cell
from .methods import FIXED, TRAINED

# By row and factor, the runs by their seed
Rows = dict[tuple[str, int], dict[int, dict[str, Any]]]


def read_rows(results: Path) -> Rows:
    """All results of a folder.

    Raises:
        UsageError: there are none, one is damaged, or not all were trained for as long.
    """
    found: Rows = {}
    for file in sorted(results.glob('*.json')):
        run = read_result(file)
        found.setdefault((run['row'], run['factor']), {})[run['seed']] = run
    if not found:
        raise UsageError(f'{results}: there are no results')
    check_lengths(results, (run['iterations'] for runs in found.values() for run in runs.values()))
    return found


def read_result(file: Path) -> dict[str, Any]:
    """What a run left.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        run: dict[str, Any] = json.loads(file.read_text())
        run['scores']['rmse'] + run['scores']['milliseconds'] + run['parameters']
        run['row'], run['factor'], run['seed'], run['iterations']
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: expected a run's result: {in_a_line(error)}") from error
    return run


def table(rows: Rows, to: str) -> str:
    """For each factor mean errors in cm, and differences to a row, as Markdown.

    Differences are paired by seeds; a row that is not trained has one result for all.

    Raises:
        UsageError: that row has no results.
    """
    if to not in {row for row, _ in rows}:
        raise UsageError(
            f'--to: expected one of {", ".join(sorted({r for r, _ in rows}))}, got {to}'
        )
    factors = sorted({factor for _, factor in rows})
    head = ['row', 'runs', 'parameters', 'ms']
    for factor in factors:
        head += [f'×{factor}', f'×{factor} to {to}']
    lines = []
    for row in (*FIXED, *TRAINED):
        own = [rows.get((row, factor), {}) for factor in factors]
        runs = [run for each in own for run in each.values()]
        if not runs:
            continue
        parameters = sorted({run['parameters'] for run in runs})
        shown = '–'.join(f'{n / 1e3:.1f} k' for n in dict.fromkeys((parameters[0], parameters[-1])))
        cells = [
            row,
            str(max(map(len, own))),
            shown if parameters[-1] else '',
            f'{statistics.median(run["scores"]["milliseconds"] for run in runs):.0f}',
        ]
        for factor, each in zip(factors, own, strict=True):
            mean = (
                statistics.fmean(run['scores']['rmse'] for run in each.values()) if each else None
            )
            cells.append('' if mean is None else f'{mean:.1f}')
            other = rows.get((to, factor), {})
            if to in FIXED and row != to and other:
                other = dict.fromkeys(each, next(iter(other.values())))
            cells.append(difference_cell(each, other, 'rmse', 1))
        lines.append(cells)
    return markdown_table(head, lines)
