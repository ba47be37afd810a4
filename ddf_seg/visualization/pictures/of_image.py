"""All pictures of a layer, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure

from ..basis import FilterBasis
from ..inspection import Inspection
from ..points import Point
from .at_points import draw_phases, draw_points
from .footprints import draw_footprint
from .of_layers import draw_channels, draw_classes, draw_maps

LAYER_PICTURES = ('points', 'phases', 'footprint', 'maps', 'classes', 'channels')
# More rows are no longer a picture at a glance.
_ROWS = 7


def layer_pictures(
    inspections: Sequence[Inspection],
    layer: str,
    points: Sequence[Point],
    channels: Sequence[int] | None = None,
    basis: FilterBasis | None = None,
    names: Sequence[str] = LAYER_PICTURES,
) -> Iterator[tuple[str, Figure]]:
    """The pictures of a layer with their names; many points fill several sheets.

    Args:
        inspections: one, or two of the same image to compare; pictures of a single network come for
            each.
        layer: name of the call.
        points: pixels of the image.
        channels: whose effective filters to show; default: some that differ.
        basis: of the filter colours; default: the layer's own.
        names: which pictures. 'phases' and 'footprint' exist for upsampling layers only,
            'channels' for layers with channel filters, 'classes' where a pixel has a class.
    """
    several = len(inspections) > 1
    if 'points' in names:
        sheets = -(-len(points) // _ROWS)
        rows = -(-len(points) // max(sheets, 1))
        for number in range(sheets):
            start = number * rows
            sheet = f'-{number + 1}' if sheets > 1 else ''
            shown = points[start : start + rows]
            yield f'points{sheet}', draw_points(inspections, layer, shown, channels, start + 1)
    upsamples = inspections[0].call(layer).operator == 'ddf_upsample'
    if 'phases' in names and upsamples and points:
        for number, inspection in enumerate(inspections):
            # Thin things and borders stand at the end.
            some = [*points[:2], *points[2:][-3:]]
            which = f'-{"AB"[number]}' if several else ''
            channel = channels[0] if channels else None
            yield f'phases{which}', draw_phases(inspection, layer, some, channel)
    if 'footprint' in names and upsamples and points:
        for number, inspection in enumerate(inspections):
            which = f'-{"AB"[number]}' if several else ''
            channel = channels[0] if channels else None
            figure = draw_footprint(inspection, layer, telling(points), channel)
            yield f'footprint{which}', figure
    if 'maps' in names:
        yield 'maps', draw_maps(inspections, layer, basis)
    if 'classes' in names:
        for number, inspection in enumerate(inspections):
            which = f'-{"AB"[number]}' if several else ''
            by_class = draw_classes(inspection, layer)
            if by_class is not None:
                yield f'classes{which}', by_class
    calls = [inspection.call(layer) for inspection in inspections]
    if 'channels' in names and not all(call.channels_neutral for call in calls):
        yield 'channels', draw_channels(inspections, layer)


def telling(points: Sequence[Point]) -> Point:
    """The point at which filters matter most: on a thin thing, else on a border, else the first."""
    for ending in (', thin', ', border'):
        for point in points:
            if point.label.endswith(ending):
                return point
    return points[0]
