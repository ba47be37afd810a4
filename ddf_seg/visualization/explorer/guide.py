"""What one sees, in four steps with an image: where to look, and what is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..calls import FilterCall
from ..inspection import Inspection
from ..kinds import find_kinds
from ..pictures import pick_channels, telling
from ..points import Point, pick_points
from ..statistics import similarity

# What fewer of a class's pixels have says little of the class.
_OFTEN = 0.03
_WHERE = {-1: ('above', 'left'), 1: ('below', 'right')}


def best_point(inspection: Inspection) -> Point:
    """A pixel worth a look: on a thin thing, else on a border, else anywhere."""
    points = pick_points(inspection.prediction, inspection.classes.names, 1, 1)
    height, width = inspection.size
    if points:
        return telling(points)
    return Point(width // 2, height // 2, 'the middle')


def best_layer(inspection: Inspection) -> FilterCall:
    """The last upsampling with filters of each pixel's own, else the last layer."""
    calls = [call for call in inspection.calls if not call.pixels_alike]
    upsampling = [call for call in calls if call.operator == 'ddf_upsample']
    return (upsampling or calls or inspection.calls)[-1]


def make_guide(inspection: Inspection) -> list[dict[str, Any]]:
    """The steps: title, text, and the state of the page."""
    point, call = best_point(inspection), best_layer(inspection)
    y, x = inspection.pixel(call, point.x, point.y)
    pointer = {'x': point.x, 'y': point.y}
    names = inspection.classes.names
    shares = np.bincount(
        inspection.prediction[inspection.prediction >= 0], minlength=len(names)
    ) / inspection.prediction.size  # fmt: skip
    first = [f'{names[i]} ({100 * shares[i]:.0f} %)' for i in np.argsort(-shares)[:3] if shares[i]]

    def view(overlay: str) -> list[dict[str, Any]]:
        return [{'layer': call.layer, 'overlay': overlay, 'run': 0}]

    steps = [
        {
            'title': 'what the network says',
            'text': f'Each pixel got a class, mostly {", ".join(first)}. Dark lines stand between '
            f'classes. The cursor is at ({point.x}, {point.y}): {point.label}.',
            'state': {'views': view('prediction'), 'pointer': pointer, 'opacity': 0.6},
        },
        {
            'title': 'a filter for every pixel',
            'text': _takes(call, y, x, pick_channels(call)[0]),
            'state': {
                'views': view('none'),
                'pointer': pointer,
                'zoom': [_zoom(inspection, call, y, x), point.x + 0.5, point.y + 0.5],
            },
        },
    ]
    if call.pixels_alike:
        return steps
    alike = similarity(call.own_filters(), y, x)
    label = inspection.labels(call, inspection.prediction)
    same = label == label[y, x]
    name = names[int(label[y, x])]
    inside, outside = float(alike[same].mean()), float(alike[~same].mean()) if (~same).any() else 0
    closer = 'more' if inside > outside else 'not more'
    steps.append(
        {
            'title': 'where filters are alike',
            'text': 'The pixel is pinned; bright pixels have filters like its own. Those predicted '
            f'{name} are {closer} alike: a mean cosine of {_number(inside)}, elsewhere '
            f'{_number(outside)}.',
            'state': {'views': view('similarity'), 'pointer': pointer, 'pin': pointer},
        }
    )
    kinds = find_kinds(call)
    assert kinds is not None
    # The kind that the class has more than others have
    among = np.bincount(kinds.labels[same.numpy()], minlength=len(kinds.pixels)) / int(same.sum())
    often = np.where(among >= _OFTEN, among / kinds.shares, 0)
    kind = int(often.argmax())
    steps.append(
        {
            'title': 'kinds of filters',
            'text': f'The filters of the layer fall into {len(kinds.pixels)} kinds. Kind '
            f'{kind + 1} is lit up: {_percent(kinds.shares[kind])} of all pixels have it, and '
            f'{_percent(among[kind])} of those predicted {name}. Click other kinds, or choose '
            'pixels.',
            'state': {
                'views': view('none'),
                'pointer': pointer,
                'choice': f'kind:{kind}',
                'tab': 'kinds',
            },
        }
    )
    return steps


def _number(value: float) -> str:
    return f'{value:.2f}'.replace('-', '−')


def _percent(share: float) -> str:
    return f'{100 * share:.{1 if share < 0.1 else 0}f} %'


def _zoom(inspection: Inspection, call: FilterCall, y: int, x: int) -> float:
    """So that the taps fill a third of the view."""
    _, top, _, bottom = inspection.reach(call, y, x)
    return float(np.clip(inspection.size[0] / (3 * (bottom - top)), 1, 24))


def _takes(call: FilterCall, y: int, x: int, channel: int) -> str:
    """Where a pixel takes from, in words, beside what it is seen against."""
    filters = call.effective_filter(y, x, channel)
    against = call.reference_filter(y, x, channel)
    kh, kw = call.kernel_size
    most = int(filters.abs().argmax())
    down, across = most // kw - kh // 2, most % kw - kw // 2
    where = ' '.join(
        f'{abs(step)} {_WHERE[int(np.sign(step))][axis]}'
        for axis, step in enumerate((down, across)) if step
    ) or 'in the middle'  # fmt: skip
    weight, usual = float(filters.flatten()[most]), float(against.flatten()[most])
    of = 'coarse pixel' if call.operator == 'ddf_upsample' else 'pixel'
    moved = float((filters - against).abs().sum() / 2)
    text = (
        f'Squares are the {kh}×{kw} pixels that this one takes from, lines their weights (blue: '
        f'negative). Most comes from the {of} {where}: {_number(weight)}. '
    )
    if call.reference == 'interpolation':
        return (
            text + f'Interpolation would take {_number(usual)} there; {moved:.2f} in all was moved.'
        )
    return text + f'Beside it: {call.reference}, with {_number(usual)} there.'
