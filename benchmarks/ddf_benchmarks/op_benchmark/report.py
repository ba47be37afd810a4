"""Rows of results, checked against their targets, as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ddf_seg.command_line import markdown_table


@dataclass(frozen=True)
class Check:
    """A measured figure and its target.

    Attributes:
        what: names the figure.
        value: it.
        limit: the target.
        at_most: whether the value has to stay below the limit (or above).
        note: said beside it.
    """

    what: str
    value: float
    limit: float
    at_most: bool = True
    note: str = ''

    @property
    def passed(self) -> bool:
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def __str__(self) -> str:
        verdict = 'PASS' if self.passed else '**miss**'
        sign = '≤' if self.at_most else '≥'
        note = f' ({self.note})' if self.note else ''
        return f'{verdict} {self.what} {self.value:.2f} {sign} {self.limit:g}{note}'


@dataclass(frozen=True)
class Row:
    """One line of a section's table."""

    cells: dict[str, str | float]
    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True)
class Table:
    """A section of the benchmark."""

    name: str
    caption: str
    rows: list[Row]

    def markdown(self) -> str:
        titles = list(dict.fromkeys(title for row in self.rows for title in row.cells))
        checked = any(row.checks for row in self.rows)
        head = [*titles, 'targets'] if checked else titles
        lines = []
        for row in self.rows:
            cells = [_text(row.cells.get(title, '')) for title in titles]
            lines.append([*cells, '; '.join(map(str, row.checks))] if checked else cells)
        return f'#### {self.name}\n\n{self.caption}\n\n{markdown_table(head, lines)}\n'

    def json(self) -> dict[str, Any]:
        rows = [
            {
                **row.cells,
                'targets': [
                    {
                        'what': check.what,
                        'value': check.value,
                        'at most' if check.at_most else 'at least': check.limit,
                        'passed': check.passed,
                        'note': check.note,
                    }
                    for check in row.checks
                ],
            }
            for row in self.rows
        ]
        return {'section': self.name, 'caption': self.caption, 'rows': rows}


def summary(tables: Iterable[Table]) -> str:
    """How many targets are met."""
    checks = [check for table in tables for row in table.rows for check in row.checks]
    return f'{sum(check.passed for check in checks)} of {len(checks)} targets met'


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f'{value:.0f}' if value >= 100 else f'{value:.3g}'
