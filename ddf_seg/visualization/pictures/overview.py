"""An image at a glance: what was predicted, the chosen points, and every layer's filter colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...engine.predicting.drawing import outlines_of
from ..basis import FilterBasis
from ..calls import FilterCall
from ..describing import stride
from ..inspection import Inspection
from ..points import Point
from . import style

_RIGHT = np.array([232, 236, 240], np.uint8)
_LINE = np.array([20, 20, 20], np.uint8)
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


def spread(points: Sequence[Point], size: tuple[int, int], distance: float) -> np.ndarray:
    """Places for numbers near points, (n, 2) as x and y, at least about a distance apart.

    Args:
        points: what the numbers are of.
        size: (H, W) of the image, which they stay in.
        distance: in pixels.
    """
    anchors = np.array([(point.x, point.y) for point in points], float).reshape(-1, 2)
    places = anchors
    # Those in one place need some direction to part in.
    angle = 2.4 * np.arange(len(places))
    nudge = 1e-3 * np.stack([np.cos(angle), np.sin(angle)], 1)
    margin = distance / 2
    most = np.array(size[::-1]) - margin
    for _ in range(200):
        places = places + nudge
        offset = places[:, None] - places
        apart = np.maximum(np.linalg.norm(offset, axis=2), 1e-9) + 1e9 * np.eye(len(places))
        push = np.maximum(distance - apart, 0) / 2
        if not push.any():
            break
        places += (offset / apart[..., None] * push[..., None]).sum(1)
        places = np.clip(places, min(margin, most.min()), most)
    return places


def _mark(axes: Axes, points: Sequence[Point], size: tuple[int, int]) -> None:
    """Numbers apart from each other, with lines to their points."""
    # A number is some 12 points wide, a panel 250.
    places = spread(points, size, 14 * size[1] / 250)
    for number, (point, (x, y)) in enumerate(zip(points, places, strict=True), 1):
        axes.plot([point.x, x], [point.y, y], color=style.MARK, linewidth=1.1)
        axes.plot(point.x, point.y, 'o', markersize=2.6, color=style.MARK)
        axes.plot(
            x, y, 'o', markersize=11, markerfacecolor=style.MARK, markeredgecolor=style.INK,
            markeredgewidth=0.7,
        )  # fmt: skip
        axes.annotate(
            str(number), (x, y), ha='center', va='center_baseline', fontsize=7,
            fontweight='bold', color=style.INK,
        )  # fmt: skip


def outlined(colours: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) with dark lines where labels (H, W) meet."""
    return np.where(outlines_of(labels)[..., None], _LINE, colours)


def _draw_legend(axes: Axes, inspections: Sequence[Inspection]) -> None:
    """All classes that are predicted or true, the most frequent first, with their shares."""
    first = inspections[0]
    shown = [i.prediction.ravel() for i in inspections]
    if first.truth is not None:
        shown.append(first.truth[first.truth >= 0])
    used, counts = np.unique(np.concatenate(shown), return_counts=True)
    handles = []
    for index in used[np.argsort(-counts, kind='stable')]:
        share = float((first.prediction == index).mean())
        handles.append(
            Patch(
                facecolor=first.classes.palette[index] / 255, edgecolor=style.INK, linewidth=0.4,
                label=f'{first.classes.names[index]}  {100 * share:.1f} %',
            )
        )  # fmt: skip
    columns = -(-len(handles) // 10)
    axes.legend(
        handles=handles, loc='center', ncols=columns, frameon=False, handlelength=1.2,
        fontsize=9 if columns <= 2 else 7, columnspacing=1.2,
    )  # fmt: skip
    axes.set_axis_off()


def layer_bases(inspections: Sequence[Inspection]) -> dict[str, FilterBasis]:
    """A basis for each layer, of all these inspections together."""
    return {
        call.layer: FilterBasis.fit([i.call(call.layer).own_filters() for i in inspections])
        for call in inspections[0].calls
    }


def _strides(inspection: Inspection, call: FilterCall) -> str:
    coarse, fine = (stride(inspection, n) for n in (call.features.shape[2:], call.size))
    return f'stride {coarse}' if coarse == fine else f'stride {coarse} → {fine}'


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
    # Its classes instead of a picture
    panels.append((None, 'classes, as predicted', whole, False))
    for inspection in inspections:
        of = f' of {inspection.title}' if len(inspections) > 1 else ''
        colours = class_colours(inspection, inspection.prediction)
        colours = outlined(colours, inspection.prediction)
        panels.append((colours, f'prediction{of}', whole, False))
    if first.truth is not None:
        colours = outlined(class_colours(first, first.truth), first.truth)
        panels.append((colours, 'ground truth', whole, False))
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
            # Beside a network's title there is room for less.
            strides = '' if of else f', {_strides(first, call)}'
            title = f'{of}{call.layer}  ({width}×{height}{strides})'
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
            'Filter colours: principal components of what pixels have of their own as lightness, '
            f'red–green and blue–yellow ({same}): similar colours, similar filters.',
        )
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_visible(False)
        for axes, (values, title, extent, marked) in zip(grid, panels, strict=False):
            axes.set_title(title, loc='left')
            if values is None:
                _draw_legend(axes, inspections)
                continue
            style.draw_map(axes, values, extent, first.size)
            if marked:
                _mark(axes, points, first.size)
    return figure
