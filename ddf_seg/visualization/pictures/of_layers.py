"""A layer as a whole: maps over the image, filters by class, channel filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import statistics
from ..basis import FilterBasis
from ..calls import FilterCall
from ..inspection import Inspection
from ..maps import filter_maps
from . import style

_ARROWS = ['↖', '↑', '↗', '←', '·', '→', '↙', '↓', '↘']


def _aspect(inspection: Inspection) -> float:
    return inspection.size[0] / inspection.size[1]


def _show_map(
    axes: Axes,
    inspection: Inspection,
    call: FilterCall | None,
    values: Any,
    title: str,
    **kwargs: Any,
) -> Any:
    shown = style.draw_map(axes, values, inspection.extent(call), inspection.size, **kwargs)
    axes.set_title(title, loc='left')
    return shown


def draw_maps(
    inspections: Sequence[Inspection], layer: str, basis: FilterBasis | None = None
) -> Figure:
    """The image as a map of its filters: colours, and the `filter_maps` that say something.

    Args:
        inspections: one, or two of the same image to compare, in one basis and on one scale.
        layer: name of the call.
        basis: of the colours; default: that of the filters shown.
    """
    calls = [inspection.call(layer) for inspection in inspections]
    own = [call.own_filters() for call in calls]
    basis = basis or FilterBasis.fit(own)
    found = [{item.name: item for item in filter_maps(call)} for call in calls]
    names = list(dict.fromkeys(name for maps in found for name in maps))
    meanings = {item.name: item.meaning for maps in found for item in maps.values()}
    explained = ', '.join(f'{100 * share:.0f} %' for share in basis.explained.tolist())
    sentences = [f'{name[0].upper()}{name[1:]}: {meanings[name]}' for name in names]
    rows = -(-(2 + len(names)) // 3)
    panel = 3.5
    with style.style():
        figure = style.new_figure(
            3 * panel + 0.2,
            len(calls) * rows * ((panel - 0.55) * _aspect(inspections[0]) + 0.3) + 1.0,
            f'{layer}  ·  maps of what its pixels have of their own',
            f'Filter colours: the first three principal components ({explained} of the variance) '
            'as lightness, red–green and blue–yellow: similar colours, similar filters.  '
            + '  '.join(sentences),
        )
        grid = figure.subplots(len(calls) * rows, 3, squeeze=False)
        for number, inspection in enumerate(inspections):
            axes = grid[rows * number : rows * (number + 1)].ravel()
            before = f'{inspection.title}: ' if len(calls) > 1 else ''
            _show_map(axes[0], inspection, None, inspection.image, f'{before}image')
            call = calls[number]
            _show_map(axes[1], inspection, call, basis.colours(own[number]), 'filter colours')
            for target, name in zip(axes[2:], names, strict=False):
                if name not in found[number]:
                    target.text(0.5, 0.5, f'{name}: says nothing here', ha='center', va='center')
                    target.set_axis_off()
                    continue
                item = found[number][name]
                low = min(maps[name].low for maps in found if name in maps)
                high = max(maps[name].high for maps in found if name in maps)
                colours = style.CYCLIC if name == 'direction' else style.SEQUENTIAL
                # A value stands for the r × r pixels of an upsampling's cell.
                values = item.values.numpy().repeat(call.scale_factor, 0)
                values = values.repeat(call.scale_factor, 1)[: call.size[0], : call.size[1]]
                shown = _show_map(
                    target, inspection, call, values, name, cmap=colours, vmin=low, vmax=high
                )
                bar = figure.colorbar(shown, cax=style.beside(target))
                if name == 'direction':
                    bar.set_ticks(range(0, 181, 45))
                    bar.ax.set_yticklabels(['0°  ─', '45°  ╱', '90°  │', '135°  ╲', '180°  ─'])
            for target in axes[2 + len(names) :]:
                target.set_visible(False)
    return figure


def draw_classes(inspection: Inspection, layer: str) -> Figure | None:
    """The mean spatial filter of each class and its spread, over truth or else prediction.

    Args:
        layer: name of the call.

    Returns:
        The picture; None where no pixel has a class.
    """
    call = inspection.call(layer)
    known = inspection.truth if inspection.truth is not None else inspection.prediction
    of = 'ground truth' if inspection.truth is not None else 'prediction'
    labels = inspection.labels(call, known)
    found = statistics.class_filters(call.spatial_filters()[0], labels)
    if not found:
        return None
    means = np.stack([item.mean.numpy() for item in found])
    spreads = np.stack([item.spread.numpy() for item in found])
    limit, most = style.symmetric_limit(means), float(spreads.max()) or 1.0
    columns = min(len(found), 8)
    blocks = -(-len(found) // columns)
    group = ' of group 0' if call.groups > 1 else ''
    with style.style():
        figure = style.new_figure(
            1.12 * columns + 1.7,
            2.75 * blocks + 1.0,
            f'{layer}  ·  filters by class',
            f'Above: mean spatial filter{group}.  Below: its standard deviation over the pixels of '
            f'the class ({of}).',
        )
        grid = figure.subplots(2 * blocks, columns, squeeze=False)
        for axes in grid.ravel():
            axes.set_visible(False)
        shown: Any = None
        for place, item in enumerate(found):
            block, column = divmod(place, columns)
            above, below = grid[2 * block, column], grid[2 * block + 1, column]
            above.set_visible(True)
            below.set_visible(True)
            style.draw_filter(above, item.mean.numpy(), limit)
            name = inspection.classes.names[item.index].replace(' ', '\n')
            above.set_title(f'{name}\n{item.pixels} px')
            shown = below.imshow(item.spread.numpy(), cmap=style.SEQUENTIAL, vmin=0, vmax=most)
            style.bare(below)
            colour = inspection.classes.palette[item.index] / 255
            for axes in (above, below):
                # The class's colour as a frame
                for spine in axes.spines.values():
                    spine.set(edgecolor=colour, linewidth=2.2)
        style.add_bar(figure, None, limit, 'mean', cax=style.beside(grid[0, -1]))
        bar = figure.colorbar(shown, cax=style.beside(grid[1, -1]))
        bar.set_label('standard deviation')
    return figure


def _tap_names(call: FilterCall) -> list[str]:
    if call.kernel_size == (3, 3):
        return _ARROWS
    return [f'{y},{x}' for y in range(call.kernel_size[0]) for x in range(call.kernel_size[1])]


def draw_channels(inspections: Sequence[Inspection], layer: str) -> Figure:
    """The channel filters as a matrix, one row per channel, similar ones beside each other.

    Args:
        inspections: one, or two of the same image to compare, in the order of the first.
        layer: name of the call.
    """
    calls = [inspection.call(layer) for inspection in inspections]
    order = statistics.sort_channels(calls[0].channel_filters())
    # One empty column between phases and between networks
    parts, titles = [], []
    for call, inspection in zip(calls, inspections, strict=True):
        for phase, filters in enumerate(call.channel_filters()):
            parts.append(filters[order].flatten(1).numpy())
            r = call.scale_factor
            names = [inspection.title] if len(calls) > 1 else []
            if call.phases > 1:
                names.append(f'phase ({phase // r}, {phase % r})')
            titles.append('\n'.join(names))
    limit = style.symmetric_limit(np.concatenate(parts, 1))
    taps = calls[0].taps
    with style.style():
        height = min(max(2.4, 0.085 * calls[0].channels), 8.0)
        figure = style.new_figure(
            max(5.6, 1.2 + 1.75 * len(parts)),
            1.25 + height,
            f'{layer}  ·  channel filters',
            'One row per channel, sorted so that neighbours are similar; one column per tap, whose '
            'place the sign shows.',
        )
        grid = figure.subplots(1, len(parts), squeeze=False)[0]
        for axes, part, title in zip(grid, parts, titles, strict=True):
            axes.imshow(part, cmap=style.DIVERGING, vmin=-limit, vmax=limit, aspect='auto')
            axes.set_title(title)
            axes.set_yticks([])
            names = _tap_names(calls[0])
            step = 1 if taps <= 9 else calls[0].kernel_size[1]
            axes.set_xticks(range(0, taps, step), names[::step])
            axes.tick_params(length=0)
            for edge in range(calls[0].kernel_size[1], taps, calls[0].kernel_size[1]):
                axes.axvline(edge - 0.5, color='white', linewidth=1.2)
        step = max(1, calls[0].channels // 16)
        rows = range(0, calls[0].channels, step)
        grid[0].set_yticks(list(rows), [str(int(order[row])) for row in rows])
        grid[0].set_ylabel('channel')
        style.add_bar(figure, list(grid), limit, 'channel filter', aspect=24, pad=0.02)
    return figure
