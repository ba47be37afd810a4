"""Filters at chosen pixels: beside what they act on, and phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..calls import FilterCall
from ..inspection import Inspection
from ..points import Point
from ..statistics import bilinear_weights, sort_channels
from . import style

# Width of the surroundings of a point, in heights
WIDE = 1.6


def pick_channels(call: FilterCall, number: int = 3) -> list[int]:
    """Channels with filters that differ: evenly spread over `sort_channels`."""
    order = sort_channels(call.channel_filters())
    number = min(number, call.channels)
    places = ((np.arange(number) + 0.5) / number * call.channels).astype(int)
    return [int(order[place]) for place in places]


def _spatial_says_all(call: FilterCall) -> bool:
    """Whether a pixel's spatial filter is the effective one of every channel."""
    return call.groups == 1 and call.channels_neutral


def _draw_surroundings(
    axes: Axes, inspection: Inspection, call: FilterCall, y: int, x: int, margin: float
) -> None:
    """The image around the taps of the filter at (y, x): `margin` times as far as they reach."""
    left, top, right, bottom = inspection.reach(call, y, x)
    height, width = inspection.size
    axes.imshow(inspection.image, extent=(0, width, height, 0), interpolation='nearest')
    axes.set_facecolor('#d8dde2')
    # The column of surroundings is wider than high.
    reach_y = margin * (bottom - top)
    reach_x = (WIDE * (bottom - top + 2 * reach_y) - (right - left)) / 2 if margin else 0.0
    axes.set(xlim=(left - reach_x, right + reach_x), ylim=(bottom + reach_y, top - reach_y))
    style.bare(axes)
    if margin:
        box = Rectangle((left, top), right - left, bottom - top, fill=False)
        box.set(edgecolor=style.MARK, linewidth=1.4)
        axes.add_patch(box)
        return
    for edges, horizontal, taps in (
        ((top, bottom), True, call.kernel_size[0]),
        ((left, right), False, call.kernel_size[1]),
    ):
        for edge in np.linspace(*edges, taps + 1)[1:-1]:
            (axes.axhline if horizontal else axes.axvline)(edge, color='white', linewidth=0.6)


def _margin(inspection: Inspection, call: FilterCall) -> float:
    # The surroundings shall show things: at least a sixth of the image's height.
    _, top, _, bottom = inspection.reach(call, *(n // 2 for n in call.size))
    return max(1.0, (inspection.size[0] / 6 / (bottom - top) - 1) / 2)


def _title(call: FilterCall, what: str) -> str:
    return f'{call.layer}  ·  {what}'


@dataclass
class _Column:
    """Filters below each other, one a point: (points, kh, kw)."""

    head: str
    values: np.ndarray
    scale: str


def _columns(
    call: FilterCall, pixels: Sequence[tuple[int, int]], channels: Sequence[int]
) -> list[_Column]:
    """What is shown of a network: the effective filters, beside what they are made of.

    Where every channel has the spatial filter and it stands in for interpolation: that, and the
    difference.
    """
    y, x = (torch.tensor(axis) for axis in zip(*pixels, strict=True))
    if call.interpolates and not channels:
        effective = call.effective_filters(y, x, 0).numpy()
        plain = call.reference_filters(y, x, 0).numpy()
        return [
            _Column('effective', effective, 'effective filter'),
            _Column('interpolation', plain, 'effective filter'),
            _Column('difference', effective - plain, 'difference'),
        ]
    group = call.group(channels[0]) if channels else 0
    spatial = call.spatial_filters()[group][:, :, y, x].permute(2, 0, 1).numpy()
    found = [_Column('spatial', spatial, 'spatial filter')]
    for channel in channels:
        effective = call.effective_filters(y, x, channel).numpy()
        found.append(_Column(f'effective, ch. {channel}', effective, 'effective filter'))
    return found


def draw_points(
    inspections: Sequence[Inspection],
    layer: str,
    points: Sequence[Point],
    channels: Sequence[int] | None = None,
    first_number: int = 1,
) -> Figure:
    """One row per point: the image around it, its taps, its spatial and some effective filters.

    Where the spatial filter is what every channel gets, it stands alone by default.

    Args:
        inspections: one, or two of the same image to compare.
        layer: name of the call.
        points: pixels of the image.
        channels: whose effective filters to show; default: `pick_channels` of the first.
        first_number: number of the first point.
    """
    calls = [inspection.call(layer) for inspection in inspections]
    alone = not channels and all(_spatial_says_all(call) for call in calls)
    channels = [] if alone else list(channels or pick_channels(calls[0]))
    pixels = [inspections[0].pixel(calls[0], point.x, point.y) for point in points]
    shown = [_columns(call, pixels, channels) for call in calls]
    limits = {
        scale: style.symmetric_limit(
            np.stack([c.values for columns in shown for c in columns if c.scale == scale])
        )
        for scale in dict.fromkeys(column.scale for column in shown[0])
    }
    of_group = (
        f' of group {calls[0].group(channels[0])}' if channels and calls[0].groups > 1 else ''
    )
    combine = '×' if calls[0].kernel_combine == 'mul' else '+'
    if calls[0].interpolates and alone:
        meaning = 'Effective: the filter of all channels, which stands in for interpolation.'
    elif alone:
        meaning = 'Spatial filter: it filters every channel.'
    else:
        meaning = (
            f'Spatial filter{of_group}: the same for all its channels.  Effective filter of a '
            f'channel: spatial {combine} channel filter'
            + (', times its gain, and interpolation.' if calls[0].gain is not None else '.')
        )
    with style.style():
        block = len(shown[0])
        columns = 2 + block * len(calls)
        # The surroundings are wide, a little gap stands between two networks.
        figure = style.new_figure(
            1.35 + 1.12 * columns,
            1.2 + 1.12 * len(points),
            _title(calls[0], 'filters at points'),
            f'Orange box and white grid: the part of the image under the taps.  {meaning}',
        )
        grid = figure.subplots(
            len(points), columns, squeeze=False,
            gridspec_kw=dict(width_ratios=[WIDE, *[1] * (columns - 1)]),
        )  # fmt: skip
        for row, (point, (y, x)) in enumerate(zip(points, pixels, strict=True)):
            first = grid[row, 0]
            _draw_surroundings(
                first, inspections[0], calls[0], y, x, _margin(inspections[0], calls[0])
            )
            name = point.label.replace(', ', '\n').replace(' | ', ' |\n')
            first.set_ylabel(
                f'{first_number + row}  {name}\n({point.x}, {point.y})',
                rotation=0, ha='right', va='center', color=style.INK, labelpad=6,
            )  # fmt: skip
            _draw_surroundings(grid[row, 1], inspections[0], calls[0], y, x, 0)
            for number in range(len(calls)):
                start = 2 + block * number
                for place, column in enumerate(shown[number]):
                    axes = grid[row, start + place]
                    style.draw_filter(axes, column.values[row], limits[column.scale])
        grid[0, 0].set_title('image')
        grid[0, 1].set_title('under the taps')
        for number, inspection in enumerate(inspections):
            start = 2 + block * number
            for place, column in enumerate(shown[number]):
                above = f'{inspection.title}\n' if len(calls) > 1 and place == 0 else ''
                grid[0, start + place].set_title(above + column.head)
        for scale, limit in limits.items():
            places = [2 + n for n, column in enumerate(shown[0]) if column.scale == scale]
            style.add_bar(
                figure, grid[:, places].ravel().tolist(), limit, scale,
                location='bottom', aspect=8 * len(places), pad=0.02,
            )  # fmt: skip
    return figure


def draw_phases(
    inspection: Inspection, layer: str, points: Sequence[Point], channel: int | None = None
) -> Figure:
    """One row per point: the filters of all phases of an upsampling layer, beside bilinear weights.

    Args:
        layer: name of a call of `ddf_upsample`.
        points: pixels of the image.
        channel: whose effective filters to show; default: the first of `pick_channels`, or none
            where the spatial filter is what every channel gets.
    """
    call = inspection.call(layer)
    alone = channel is None and _spatial_says_all(call)
    channel = pick_channels(call)[0] if channel is None else channel
    r, (kh, kw) = call.scale_factor, call.kernel_size
    group = call.group(channel)
    spatial = np.full((len(points), r, r, kh, kw), np.nan, np.float32)
    effective, plain = spatial.copy(), spatial.copy()
    corners = []
    for row, point in enumerate(points):
        y, x = inspection.pixel(call, point.x, point.y)
        corners.append((y - y % r, x - x % r))
        for down, across in np.ndindex(r, r):
            y, x = corners[-1][0] + down, corners[-1][1] + across
            if y < call.size[0] and x < call.size[1]:
                spatial[row, down, across] = call.spatial_filters()[group, :, :, y, x].numpy()
                effective[row, down, across] = call.effective_filter(y, x, channel).numpy()
                plain[row, down, across] = call.reference_filter(y, x, channel).numpy()
    shown: dict[str, np.ndarray] = {}
    if call.reference == 'interpolation':
        shown['effective' if alone else f'effective, channel {channel}'] = effective
        shown['interpolation'] = plain
        shown['difference'] = effective - plain
    else:
        shown['spatial filters'] = spatial
        if not alone:
            shown[f'effective, channel {channel}'] = effective
        bilinear = bilinear_weights(r, (kh, kw)).view(r, r, kh, kw).numpy()
        shown['bilinear weights'] = np.broadcast_to(bilinear, spatial.shape)
    limits = {head: style.symmetric_limit(tiles) for head, tiles in shown.items()}
    if 'interpolation' in limits:
        # One scale for what is compared
        whole = next(iter(limits))
        limits[whole] = limits['interpolation'] = max(limits[whole], limits['interpolation'])
    with style.style():
        side = max(1.6, 0.26 * (r * (kh + 1) - 1))
        figure = style.new_figure(
            1.6 + (1.9 + len(shown)) * side,
            1.3 + side * len(points),
            _title(call, f'the {r * r} phases'),
            f'One pixel of the features becomes {r}×{r} pixels; each has filters of its own, shown '
            'at its place, beside those of interpolation.',
        )
        figure.get_layout_engine().set(h_pad=0.1, w_pad=0.1)  # type: ignore[union-attr, call-arg]
        grid = figure.subplots(
            len(points),
            1 + len(shown),
            squeeze=False,
            gridspec_kw=dict(width_ratios=[WIDE, *[1] * len(shown)]),
        )
        for row, (point, (y, x)) in enumerate(zip(points, corners, strict=True)):
            _draw_surroundings(grid[row, 0], inspection, call, y, x, _margin(inspection, call))
            name = point.label.replace(', ', '\n').replace(' | ', ' |\n')
            grid[row, 0].set_ylabel(
                f'{name}\n({point.x}, {point.y})',
                rotation=0, ha='right', va='center', color=style.INK, labelpad=6,
            )  # fmt: skip
            for place, (head, tiles) in enumerate(shown.items()):
                limit = limits[head]
                axes = grid[row, 1 + place]
                style.draw_filter(axes, style.mosaic(tiles[row]), limit, numbers=False)
                for spine in axes.spines.values():
                    spine.set_visible(False)
        for axes, head in zip(grid[0], ['image', *shown], strict=True):
            axes.set_title(head)
        for place, (head, limit) in enumerate(limits.items()):
            style.add_bar(
                figure, grid[:, 1 + place].tolist(), limit, head,
                location='bottom', aspect=14, pad=0.02,
            )  # fmt: skip
    return figure
