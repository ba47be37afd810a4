"""An image at a glance: what was predicted, the chosen points, and every layer's filter colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..basis import FilterBasis
from ..inspection import Inspection
from ..points import Point
from . import style

_RIGHT = np.array([232, 236, 240], np.uint8)
_UNKNOWN = np.array([150, 160, 170], np.uint8)


def error_colours(inspection: Inspection) -> np.ndarray:
    """Wrong pixels red, right ones light, unknown ones grey, (H, W, 3) uint8."""
    assert inspection.truth is not None
    wrong = (inspection.prediction != inspection.truth)[..., None]
    known = (inspection.truth >= 0)[..., None]
    return np.where(known, np.where(wrong, style.ERROR, _RIGHT), _UNKNOWN)


def class_colours(inspection: Inspection, labels: np.ndarray) -> np.ndarray:
    """The classes' colours, black where there is none, (H, W, 3) uint8."""
    colours = inspection.classes.palette[np.maximum(labels, 0)]
    return np.where(labels[..., None] >= 0, colours, 0).astype(np.uint8)


def _mark(axes: Axes, points: Sequence[Point]) -> None:
    for number, point in enumerate(points, 1):
        axes.plot(
            point.x, point.y, 'o', markersize=9.5, markerfacecolor=style.MARK,
            markeredgecolor=style.INK, markeredgewidth=0.7,
        )  # fmt: skip
        axes.annotate(
            str(number), (point.x, point.y), ha='center', va='center_baseline', fontsize=6,
            fontweight='bold', color=style.INK,
        )  # fmt: skip


def layer_bases(inspections: Sequence[Inspection]) -> dict[str, FilterBasis]:
    """A basis for each layer, of all these inspections together."""
    return {
        call.layer: FilterBasis.fit([i.call(call.layer).own_filters() for i in inspections])
        for call in inspections[0].calls
    }


def draw_overview(
    inspections: Sequence[Inspection],
    points: Sequence[Point],
    bases: Mapping[str, FilterBasis] | None = None,
    shared: bool = False,
) -> Figure:
    """Image, prediction, truth and error if known, and the filter colours of all layers.

    Args:
        inspections: one, or two of the same image to compare.
        points: to mark, numbered from 1.
        bases: of the filter colours by layer; default: `layer_bases`.
        shared: the bases are one for several layers and images, as the picture shall say.
    """
    first = inspections[0]
    bases = bases or layer_bases(inspections)
    whole = first.extent()
    panels: list[tuple[Any, str, Any, bool]] = [(first.image, 'image and points', whole, True)]
    for inspection in inspections:
        of = f' of {inspection.title}' if len(inspections) > 1 else ''
        colours = class_colours(inspection, inspection.prediction)
        panels.append((colours, f'prediction{of}', whole, False))
    if first.truth is not None:
        panels.append((class_colours(first, first.truth), 'ground truth', whole, False))
        for inspection in inspections:
            of = f' of {inspection.title}' if len(inspections) > 1 else ''
            known = first.truth >= 0
            share = (
                float((inspection.prediction != first.truth)[known].mean()) if known.any() else 0
            )
            title = f'error{of}: {100 * share:.1f} %'
            panels.append((error_colours(inspection), title, whole, False))
    for call in first.calls:
        height, width = call.size
        for inspection in inspections:
            of = f'{inspection.title}: ' if len(inspections) > 1 else ''
            own = inspection.call(call.layer)
            colours = bases[call.layer].colours(own.own_filters())
            title = f'{of}{call.layer}  ({width}×{height})'
            panels.append((colours, title, inspection.extent(own), False))
    columns = 3 if len(inspections) == 1 else 4
    rows = -(-len(panels) // columns)
    height, width = first.size
    panel = 3.5
    with style.style():
        same = (
            'one basis for all that have the same kernel' if shared else 'each layer its own basis'
        )
        figure = style.new_figure(
            columns * panel + 0.2,
            rows * (panel * height / width + 0.25) + 1.15,
            'The image and the filters of its pixels',
            'Filter colours: principal components of the spatial filters as lightness, red–green '
            f'and blue–yellow ({same}): similar colours, similar filters.',
        )
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, (values, title, extent, marked) in zip(grid, panels, strict=False):
            style.draw_map(axes, values, extent, first.size)
            axes.set_title(title, loc='left')
            if marked:
                _mark(axes, points)
        shown = [i.prediction.ravel() for i in inspections]
        if first.truth is not None:
            shown.append(first.truth[first.truth >= 0])
        used = np.unique(np.concatenate(shown))
        handles = [
            Patch(facecolor=first.classes.palette[i] / 255, label=first.classes.names[i])
            for i in used
        ]
        figure.legend(
            handles=handles, loc='outside upper right', ncols=min(10, len(handles)),
            frameon=False, fontsize=7, handlelength=1, columnspacing=1.2,
        )  # fmt: skip
    return figure
