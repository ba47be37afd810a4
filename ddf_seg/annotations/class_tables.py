"""The classes of the datasets, read from `tables/*.csv`.

Two kinds of table: the classes that are predicted, in the order of their indices, with their
colours; and what stands in the files of a dataset (`id`, `name` or colour) with the index that it
gets, 255 where it is ignored. They were extracted from the datasets' own sources, except that
RailSem19's colours and encoding come from two agreeing copies of third parties (UNVERIFIED).
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

IGNORE = 255
_TABLES = Path(__file__).parent / 'tables'


@cache
def read_table(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table, by the names of its columns."""
    with open(_TABLES / f'{name}.csv', newline='') as file:
        return tuple(csv.DictReader(file))


def metainfo(name: str, column: str | None = None) -> dict[str, Any]:
    """Names and colours (RGB) of the classes in a table, as an mmseg dataset's METAINFO.

    Args:
        name: of the table.
        column: holds the indices, for a table whose rows are not all classes; None: every row is.
    """
    rows = [row for row in read_table(name) if column is None or int(row[column]) != IGNORE]
    return dict(
        classes=tuple(row['name'] for row in rows),
        palette=[[int(row[colour]) for colour in ('red', 'green', 'blue')] for row in rows],
    )


def index_of(name: str, column: str = 'index') -> dict[str, int]:
    """The index that each name in a table gets."""
    return {row['name']: int(row[column]) for row in read_table(name)}


def id_map(name: str) -> np.ndarray:
    """The index that each id in a label file gets: (256,) uint8, ignored what the table lacks."""
    indices = np.full(256, IGNORE, np.uint8)
    for row in read_table(name):
        indices[int(row['id'])] = int(row['index'])
    return indices
