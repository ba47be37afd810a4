"""The runs' results side by side: means, and paired differences to one of the rows."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import ttest_rel

from ddf_seg.command_line import markdown_table
from ddf_seg.errors import UsageError

# The order of the table; other rows follow.
ORDER = ('bilinear', 'carafe', 'dysample', 'ddf-up', 'joint-ddf-up', 'ddf')
THIN = ('Pole', 'SignSymbol', 'Pedestrian', 'Bicyclist')
CONFIDENCE = 0.95
# Heading of a column to its value, in per cent.
SCORES = {
    'mIoU': 'mIoU',
    'boundary IoU': 'mBIoU',
    'IoU within 3 px of a border': 'mIoU_trimap_3',
    'thin classes': 'thin',
}


@dataclass(frozen=True)
class Difference:
    """Of a score to another row's with the same seed.

    Attributes:
        mean: over the seeds that both have.
        seeds: how many these are.
        interval: where the mean lies with a confidence of 95 % (Student's t), if there are two.
    """

    mean: float
    seeds: int
    interval: tuple[float, float] | None

    def __str__(self) -> str:
        if self.interval is None:
            return f'{self.mean:+.2f}'
        low, high = self.interval
        return f'{self.mean:+.2f} [{low:+.2f}, {high:+.2f}]'


@dataclass
class Row:
    """All runs of a config: result by seed."""

    name: str
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)

    def scores(self, score: str) -> dict[int, float]:
        """A score of each seed's run."""
        return {seed: run['scores'][score] for seed, run in sorted(self.runs.items())}

    def mean(self, score: str) -> float:
        return statistics.fmean(self.scores(score).values())

    def difference(self, other: Row, score: str) -> Difference | None:
        """To another row, over the seeds that both have; None without any."""
        ours, theirs = self.scores(score), other.scores(score)
        seeds = [seed for seed in ours if seed in theirs]
        if not seeds:
            return None
        pairs = [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]
        mean = statistics.fmean(a - b for a, b in zip(*pairs, strict=True))
        if len(seeds) < 2:
            return Difference(mean, len(seeds), None)
        low, high = ttest_rel(*pairs).confidence_interval(CONFIDENCE)
        return Difference(mean, len(seeds), (float(low), float(high)))


def read_rows(results: Path, split: str) -> list[Row]:
    """The rows of a split that have results, in the table's order.

    Raises:
        UsageError: there is no result, or there are runs of different schedules.
    """
    runs = [json.loads(file.read_text()) for file in sorted(results.glob('*.json'))]
    runs = [run for run in runs if run['split'] == split]
    if not runs:
        raise UsageError(f'{results}: no results for the split {split}')
    schedules = {(run['iterations'], run['batch_size'], *run['crop_size']) for run in runs}
    if len(schedules) > 1:
        raise UsageError(
            f'{results}: expected runs of one schedule, got (iterations, batch, crop): '
            f'{sorted(schedules)}'
        )
    rows: dict[str, Row] = {}
    for run in runs:
        scores = run['scores']
        scores['thin'] = statistics.fmean(scores[f'IoU_{name}'] for name in THIN)
        rows.setdefault(run['row'], Row(run['row'])).runs[run['seed']] = run
    names = [name for name in ORDER if name in rows]
    return [rows[name] for name in [*names, *sorted(rows.keys() - set(names))]]


def find(rows: Iterable[Row], name: str) -> Row:
    """The row of a name, to compare the others with.

    Raises:
        UsageError: it has no results.
    """
    for row in rows:
        if row.name == name:
            return row
    raise UsageError(f'there is no result of {name} to compare with')


def table(rows: list[Row], to: str, times: dict[str, float]) -> str:
    """Scores with their differences to a row, costs, and the IoU of each class, as Markdown.

    Args:
        rows: the rows that have results.
        to: name of the row to compare with.
        times: milliseconds for an image, by row.
    """
    parts = (_scores(rows, find(rows, to)), _costs(rows, to, times), _classes(rows))
    return '\n\n'.join(markdown_table(head, lines) for head, *lines in parts)


def _scores(rows: list[Row], first: Row) -> list[list[str]]:
    lines = [['row', 'seeds']]
    for title in SCORES:
        lines[0] += [title, f'{title} to {first.name}']
    for row in rows:
        cells = [row.name, ' '.join(map(str, sorted(row.runs)))]
        for score in SCORES.values():
            difference = None if row is first else row.difference(first, score)
            cells += [f'{row.mean(score):.2f}', str(difference or '')]
        lines.append(cells)
    return lines


def _costs(rows: list[Row], to: str, times: dict[str, float]) -> list[list[str]]:
    lines = [
        ['row', 'parameters', 'multiply-adds', 's / iteration', 'ms / image', f'ratio to {to}'],
    ]
    for row in rows:
        run = next(iter(row.runs.values()))
        seconds = [each['seconds_per_iteration'] for each in row.runs.values()]
        trained = [each for each in seconds if each is not None]
        ms, of = times.get(row.name), times.get(to)
        lines.append(
            [
                row.name,
                f'{run["parameters"] / 1e6:.2f} M',
                f'{run["multiply_adds"] / 1e9:.2f} G',
                f'{statistics.median(trained):.2f}' if trained else '',
                f'{ms:.1f}' if ms else '',
                f'{ms / of:.2f}' if ms and of else '',
            ]
        )
    return lines


def _classes(rows: list[Row]) -> list[list[str]]:
    scores = next(iter(rows[0].runs.values()))['scores']
    classes = [key for key in scores if key.startswith('IoU_')]
    lines = [['row', *(key.removeprefix('IoU_') for key in classes)]]
    lines += [[row.name, *(f'{row.mean(key):.1f}' for key in classes)] for row in rows]
    return lines
