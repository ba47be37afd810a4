"""The rows' results side by side, with what the paper reports."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddf_seg.command_line import markdown_table
from ddf_seg.errors import UsageError, in_a_line

from ..runs import difference_cell
from .network import FILTERS

# A row's runs by their seed
Rows = dict[str, dict[int, dict[str, Any]]]


def read_result(file: Path) -> dict[str, Any]:
    """What a run left.

    Raises:
        UsageError: the file is damaged.
    """
    try:
        run: dict[str, Any] = json.loads(file.read_text())
        for key in ('seed', 'epochs', 'images', 'parameters', 'multiply_adds', 'memory'):
            run[key] + 0
        run['row'], run['diverged'], run['seconds_per_iteration']
        run['scores']['accuracy'], run['scores']['nll']
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{file}: expected a run's result: {in_a_line(error)}") from error
    return run


def read_rows(results: Path) -> Rows:
    """All results of a folder.

    Raises:
        UsageError: there are none, one is damaged, or they are of different images or epochs.
    """
    found: Rows = {}
    kinds: dict[tuple[int, int], Path] = {}
    for file in sorted(results.glob('*.json')):
        run = read_result(file)
        kinds.setdefault((run['images'], run['epochs']), file)
        found.setdefault(run['row'], {})[run['seed']] = run
    if not found:
        raise UsageError(f'{results}: there are no results')
    if len(kinds) > 1:
        (a, first), (b, second), *_ = kinds.items()
        raise UsageError(
            f'{second}: expected a run of {a[0]} images and {a[1]} epochs as {first.name}, '
            f'got {b[0]} and {b[1]}'
        )
    return {row: found[row] for row in FILTERS if row in found}


def table(rows: Rows, to: str) -> str:
    """Means of the rows and paired differences to one of them, as Markdown.

    Raises:
        UsageError: that one has no results.
    """
    if to not in rows:
        raise UsageError(f'--to: expected one of {", ".join(rows)}, got {to}')
    head = ['row', 'runs', 'parameters', 'multiply-adds', 'MiB', 'ms', 'accuracy', f'to {to}',
            'loss', f'loss to {to}']  # fmt: skip
    return markdown_table(head, [_cells(row, runs, rows[to]) for row, runs in rows.items()])


def _cells(
    row: str, runs: dict[int, dict[str, Any]], to: dict[int, dict[str, Any]]
) -> Sequence[str]:
    first = next(iter(runs.values()))
    mean = {
        score: statistics.fmean(run['scores'][score] for run in runs.values())
        for score in ('accuracy', 'nll')
    }
    diverged = sum(run['diverged'] for run in runs.values())
    memory = statistics.median(run['memory'] for run in runs.values())
    # The least: what else a machine did can only add.
    seconds = min(run['seconds_per_iteration'] for run in runs.values())
    return [
        row,
        f'{len(runs)}, {diverged} diverged' if diverged else str(len(runs)),
        f'{first["parameters"] / 1e3:.1f} k',
        f'{first["multiply_adds"] / 1e6:.2f} M',
        f'{memory / 2**20:.0f}',
        f'{1e3 * seconds:.0f}',
        f'{mean["accuracy"]:.2f}',
        difference_cell(runs, to, 'accuracy', 2),
        f'{mean["nll"]:.3f}',
        difference_cell(runs, to, 'nll', 3),
    ]
