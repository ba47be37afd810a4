"""The differences between rows as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .comparison import Row, find

PANELS = {'mIoU': 'mIoU', 'mBIoU': 'boundary IoU', 'thin': 'mIoU of thin classes'}


def _draw(axes: Axes, rows: list[Row], first: Row, score: str) -> None:
    for y, row in enumerate(reversed(rows)):
        difference = row.difference(first, score)
        if difference is None:
            continue
        colour = 'C3' if row.name == 'ddf' else 'C0'
        ours, theirs = row.scores(score), first.scores(score)
        each = [value - theirs[seed] for seed, value in ours.items() if seed in theirs]
        axes.plot(each, [y] * len(each), 'o', color=colour, alpha=0.35, markersize=4)
        axes.plot(difference.mean, y, 'D', color=colour, markersize=6)
        if difference.interval is not None:
            axes.plot(difference.interval, [y, y], color=colour, linewidth=1.5)
    axes.axvline(0, color='0.5', linewidth=1)
    axes.set_title(PANELS[score], fontsize=10)
    axes.grid(axis='x', color='0.9')
    axes.set_axisbelow(True)


def plot(rows: list[Row], to: str, path: Path) -> None:
    """Draws each row's difference to one of them: a dot a seed, the mean, and its interval."""
    first = find(rows, to)
    others = [row for row in rows if row is not first]
    with mpl.rc_context({'font.size': 9}):
        figure = Figure(figsize=(10, 1.4 + 0.32 * len(others)), layout='constrained')
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(PANELS), sharey=True, squeeze=False)[0]
        for axes, score in zip(panels, PANELS, strict=True):
            _draw(axes, others, first, score)
        panels[0].set_yticks(range(len(others)), [row.name for row in reversed(others)])
        panels[0].set_ylim(-0.6, len(others) - 0.4)
        figure.supxlabel(
            f'percentage points above {to}: each seed, mean, 95 % interval', fontsize=9
        )
        figure.savefig(path, dpi=150)
