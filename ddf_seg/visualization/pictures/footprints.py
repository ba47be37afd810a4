"""Where a pixel takes from: a figure for a talk, and an animation along a line."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from ..calls import FilterCall
from ..describing import describe
from ..inspection import Inspection
from ..points import Point
from . import style
from .at_points import pick_channels

_NEGATIVE = '#35d0ff'
# Weights below this share of the largest get neither line nor number.
_LEAST = 0.04
# More make files that nobody sends.
FRAMES = 48


def _squares(inspection: Inspection, call: FilterCall, y: int, x: int) -> np.ndarray:
    """Left and top of the taps in the image, (kh, kw, 2), and their side at [..., 2:]."""
    down, across = inspection.density(call.features.shape[2:])
    centre = call.centre(y, x)
    rows, columns = (
        at + (np.arange(k) - k // 2) * d
        for at, k, d in zip(centre, call.kernel_size, call.dilation, strict=True)
    )
    top, left = np.meshgrid(rows / down, columns / across, indexing='ij')
    return np.stack([left, top, np.full_like(left, 1 / across), np.full_like(top, 1 / down)], -1)


def draw_taps(
    axes: Axes, inspection: Inspection, call: FilterCall, y: int, x: int, filters: Any, limit: float
) -> None:
    """The image around the pixel (y, x) of a layer, and what a filter of it takes from where.

    Args:
        filters: (kh, kw).
        limit: end of the colour scale.
    """
    left, top, right, bottom = inspection.reach(call, y, x)
    height, width = inspection.size
    squares = _squares(inspection, call, y, x)
    cell = squares[0, 0, 2:]
    axes.imshow(inspection.image, extent=(0, width, height, 0), interpolation='nearest')
    axes.set_facecolor('#d8dde2')
    axes.set(
        xlim=(left - cell[0] / 2, right + cell[0] / 2),
        ylim=(bottom + cell[1] / 2, top - cell[1] / 2),
    )
    style.bare(axes)
    down, across = inspection.density(call.size)
    middle = ((x + 0.5) / across, (y + 0.5) / down)
    values = np.asarray(filters)
    strongest = float(np.abs(values).max()) or 1.0
    colours = mpl.colormaps[style.DIVERGING]
    # Numbers stand in the corner that is farther from the pixel, and from its lines.
    right_half = middle[0] > squares[values.shape[0] // 2, values.shape[1] // 2, 0] + cell[0] / 2
    aside = np.array([0.22 if right_half else 0.78, 0.2])
    halo = [withStroke(linewidth=2.2, foreground='white')]
    for place in np.ndindex(*values.shape):
        weight = float(values[place])
        corner, size = squares[place][:2], squares[place][2:]
        face = colours((weight / limit + 1) / 2)[:3]
        axes.add_patch(
            Rectangle(
                tuple(corner), *size, facecolor=(*face, 0.7 * min(abs(weight) / limit, 1)),
                edgecolor='white', linewidth=0.8,
            )
        )  # fmt: skip
        if abs(weight) < _LEAST * strongest:
            continue
        end = corner + size / 2
        axes.plot(
            *zip(middle, end, strict=True), solid_capstyle='round', zorder=3,
            color=style.MARK if weight > 0 else _NEGATIVE,
            linewidth=0.6 + 5 * abs(weight) / strongest,
        )  # fmt: skip
        text = f'{100 * weight:.0f}'.replace('-', '−')
        number_x, number_y = (corner + size * aside).tolist()
        axes.text(
            number_x, number_y, text, ha='center', va='center', fontsize=9,
            color=style.INK, fontweight='bold', path_effects=halo, zorder=4,
        )  # fmt: skip
    axes.add_patch(
        Rectangle(
            (x / across, y / down), 1 / across, 1 / down, fill=False, edgecolor=style.MARK,
            linewidth=2.4, zorder=5,
        )
    )  # fmt: skip


def _draw_where(axes: Axes, inspection: Inspection, call: FilterCall, y: int, x: int) -> None:
    """The scene, and a frame around what is shown of it."""
    left, top, right, bottom = inspection.reach(call, y, x)
    axes.imshow(inspection.image)
    frame = Rectangle((left, top), right - left, bottom - top, fill=False)
    frame.set(edgecolor=style.MARK, linewidth=2)
    axes.add_patch(frame)
    style.bare(axes)


def draw_footprint(
    inspection: Inspection, layer: str, point: Point, channel: int | None = None
) -> Figure:
    """What a layer does at a pixel: the scene, where the pixel takes from, and what it would.

    Args:
        layer: name of the call.
        point: the pixel of the image.
        channel: whose filter; default: the first of `pick_channels`.
    """
    call = inspection.call(layer)
    channel = pick_channels(call)[0] if channel is None else channel
    y, x = inspection.pixel(call, point.x, point.y)
    effective = call.effective_filter(y, x, channel).numpy()
    reference = call.reference_filter(y, x, channel).numpy()
    limit = max(style.symmetric_limit(effective), style.symmetric_limit(reference))
    moved = 100 * float(np.abs(effective - reference).sum()) / 2
    what = describe(inspection, call, inspection.calls.index(call) + 1)['what']
    of = '' if call.channels_neutral else f', channel {channel}'
    with style.style():
        figure = style.new_figure(
            12.4, 5.0, f'What DDF does here: {point.label}',
            f'{layer}: {what}{of}.  White squares: the pixels that it takes from.  Orange: the '
            'pixel that is made.  Numbers: weights in per cent; lines are as thick (blue: '
            f'negative).  {moved:.0f} % is taken from elsewhere than by {call.reference}.',
        )  # fmt: skip
        ratio = inspection.size[1] / inspection.size[0]
        grid = figure.subplots(1, 3, gridspec_kw=dict(width_ratios=[min(ratio, 2), 1, 1]))
        _draw_where(grid[0], inspection, call, y, x)
        grid[0].set_title(f'({point.x}, {point.y})', fontsize=10)
        for axes, filters, name in zip(
            grid[1:], (effective, reference), ('DDF', call.reference), strict=True
        ):
            draw_taps(axes, inspection, call, y, x, filters, limit)
            axes.set_title(name, fontsize=11, fontweight='bold')
    return figure


def scan_line(
    inspection: Inspection, call: FilterCall, point: Point, length: int = FRAMES
) -> Sequence[tuple[int, int]]:
    """Pixels (y, x) of a layer along the row of a point, with the point in their middle.

    Of an upsampling the same phase, so that what changes is not the phase.
    """
    y, x = inspection.pixel(call, point.x, point.y)
    r, width = call.scale_factor, call.size[1]
    number = min(length, (width - 1 - x % r) // r + 1)
    first = min(max(x // r - number // 2, 0), (width - 1 - x % r) // r + 1 - number)
    return [(y, (first + step) * r + x % r) for step in range(number)]


def animate_scan(
    inspection: Inspection, layer: str, point: Point, channel: int | None = None
) -> bytes:
    """A GIF of what pixels take from, one after another along the row of a point.

    Args:
        layer: name of the call.
        point: the pixel of the image in the middle.
        channel: whose filter; default: the first of `pick_channels`.
    """
    call = inspection.call(layer)
    channel = pick_channels(call)[0] if channel is None else channel
    line = scan_line(inspection, call, point)
    filters = [call.effective_filter(y, x, channel).numpy() for y, x in line]
    limit = style.symmetric_limit(np.stack(filters))
    frames = []
    with style.style():
        figure = style.new_figure(
            8.4, 3.9, f'Filters along a line: {point.label}',
            f'{layer}.  Numbers: weights in per cent.',
        )  # fmt: skip
        figure.set_dpi(90)
        ratio = min(inspection.size[1] / inspection.size[0], 2)
        where, taps = figure.subplots(1, 2, gridspec_kw=dict(width_ratios=[ratio, 1]))
        for (y, x), shown in zip(line, filters, strict=True):
            for axes in (where, taps):
                axes.clear()
            _draw_where(where, inspection, call, y, x)
            draw_taps(taps, inspection, call, y, x, shown, limit)
            frames.append(Image.fromarray(style.to_array(figure)))
            figure.set_layout_engine('none')
    # One set of colours for all, or they flicker; and the marks' own among them.
    height = frames[0].height
    sample = Image.new('RGB', (frames[0].width, height + 80), style.MARK)
    sample.paste(frames[len(frames) // 2], (0, 0))
    sample.paste(Image.new('RGB', (sample.width, 40), _NEGATIVE), (0, height))
    colours = sample.quantize(160)
    reduced = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in frames]
    content = BytesIO()
    reduced[0].save(content, 'GIF', save_all=True, append_images=reduced[1:], duration=140, loop=0)
    return content.getvalue()
