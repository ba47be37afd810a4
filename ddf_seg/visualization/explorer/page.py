"""Builds the explorer page from a network's runs on images."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, to_hex

from ...engine.predicting.drawing import clear_palette
from ...errors import UsageError
from ..basis import DEVIATIONS, LAB_CENTRE, LAB_REACH, FilterBasis
from ..describing import describe
from ..inspection import Inspection
from ..kinds import KINDS
from ..pictures import layer_bases
from ..pictures.style import CYCLIC, DIVERGING, ERROR, SEQUENTIAL
from ..showing import picture_url
from .guide import best_layer, make_guide
from .layers import layer_data
from .packing import Blobs, pack_filters

# Bytes of the whole page
SIZE_LIMIT = 15_000_000
# Our scripts, what JSON puts around the maps, kinds and maps of the layers
_OVERHEAD = 600_000
_WEB = Path(__file__).parent / 'web'
# In the order in which one needs another
SCRIPTS = (
    'packed', 'colours', 'layer', 'choosing', 'overlays', 'filters', 'view', 'panel', 'address',
    'keys', 'guide', 'app',
)  # fmt: skip
# The entropy's map is smooth.
_DOUBT_WIDTH = 512
# In the page's maps of class ids, which are bytes: no class
_NONE = 255


def _ramp(colours: str | Colormap) -> list[str]:
    ramp = mpl.colormaps[colours] if isinstance(colours, str) else colours
    return [to_hex(ramp(i / 255)) for i in range(256)]


def _labels(labels: np.ndarray) -> np.ndarray:
    return np.where(labels < 0, _NONE, labels).astype(np.uint8)


def _doubt(inspection: Inspection, blobs: Blobs) -> dict[str, Any] | None:
    if inspection.doubt is None:
        return None
    height, width = inspection.size
    scale = min(1.0, _DOUBT_WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(inspection.doubt, size, interpolation=cv2.INTER_AREA)
    values = np.rint(255 * np.clip(small, 0, 1)).astype(np.uint8)
    return {'packed': blobs.add_labels(values), 'shape': list(values.shape)}


def _scene(
    runs: Sequence[Inspection],
    name: str,
    bases: Mapping[str, FilterBasis],
    blobs: Blobs,
    budget: int,
) -> dict[str, Any]:
    """An image, and what the networks made of it."""
    first = runs[0]
    before = blobs.size
    truth = None if first.truth is None else blobs.add_labels(_labels(first.truth))
    occurring = [_labels(run.prediction) for run in runs]
    heads = [
        {
            'title': run.title,
            'prediction': blobs.add_labels(labels),
            'doubt': _doubt(run, blobs),
        }
        for run, labels in zip(runs, occurring, strict=True)
    ]
    if first.truth is not None:
        occurring.append(_labels(first.truth))
    counts = np.bincount(np.concatenate([labels.ravel() for labels in occurring]), minlength=256)
    calls = [call for run in runs for call in run.calls]
    budget -= blobs.size - before + sum(6 * call.channel_filter.numel() for call in calls)
    # Kinds and maps: some four bits a pixel, in base64
    budget -= sum(2 * call.size[0] * call.size[1] // 3 for call in calls)
    packed = pack_filters(calls, max(budget, 0))
    for number, (run, head) in enumerate(zip(runs, heads, strict=True)):
        start = number * len(first.calls)
        head['layers'] = {
            item.call.layer: layer_data(item, bases[item.call.layer], run, blobs)
            for item in packed[start : start + len(first.calls)]
        }
    steps = make_guide(first)
    return {
        'name': name,
        'size': list(first.size),
        'truth': truth,
        'runs': heads,
        'classes': [int(i) for i in np.argsort(-counts[:_NONE], kind='stable') if counts[i]],
        'steps': steps,
        'pointer': steps[0]['state']['pointer'],
    }


def _data(
    images: Sequence[Sequence[Inspection]],
    title: str,
    names: Sequence[str],
    bases: Mapping[str, FilterBasis] | None,
    blobs: Blobs,
    budget: int,
) -> dict[str, Any]:
    """What the page's script works on."""
    first = images[0][0]
    layers = [describe(first, call, number + 1) for number, call in enumerate(first.calls)]
    shown = best_layer(first)
    return {
        'title': title,
        'names': first.classes.names,
        'colours': first.classes.palette.tolist(),
        'clear': clear_palette(len(first.classes.names)).tolist(),
        'note': first.classes.note,
        'error': ERROR.tolist(),
        'kindColours': clear_palette(KINDS).tolist(),
        'layers': layers,
        'start': {
            'view': {
                'layer': shown.layer,
                'overlay': 'prediction' if shown.pixels_alike else 'colours',
                'run': 0,
            }
        },
        'ramps': {
            'diverging': _ramp(DIVERGING),
            'sequential': _ramp(SEQUENTIAL),
            'cyclic': _ramp(CYCLIC),
        },
        'lab': {
            'centre': LAB_CENTRE.tolist(),
            'reach': LAB_REACH.tolist(),
            'range': DEVIATIONS,
        },
        'images': [
            _scene(runs, name, bases or layer_bases(runs), blobs, budget // len(images))
            for runs, name in zip(images, names, strict=True)
        ],
    }


def build_page(
    images: Sequence[Sequence[Inspection]],
    title: str,
    names: Sequence[str] | None = None,
    bases: Mapping[str, FilterBasis] | None = None,
    size_limit: int = SIZE_LIMIT,
) -> str:
    """The explorer page, as HTML.

    Args:
        images: for each image one run, or two to compare.
        title: the page's heading.
        names: of the images; default: numbers.
        bases: of the filter colours by layer; default: `layer_bases` of each image.
        size_limit: bytes that the page shall not exceed; the filters are quantised accordingly.

    Raises:
        UsageError: there are more than 255 classes.
    """
    number = len(images[0][0].classes.names)
    if number > _NONE:
        raise UsageError(f'the page of the filters: expected at most {_NONE} classes, got {number}')
    names = names or [str(number + 1) for number in range(len(images))]
    photos = [picture_url(runs[0].image, 90) for runs in images]
    blobs = Blobs()
    budget = size_limit - _OVERHEAD - sum(map(len, photos))
    data = _data(images, title, names, bases, blobs, budget)
    parts = {
        'title': html.escape(title),
        'style': (_WEB / 'page.css').read_text('utf-8'),
        'script': '\n'.join((_WEB / f'{name}.js').read_text('utf-8') for name in SCRIPTS),
        # Nothing in a name may end the script element.
        'data': json.dumps(data, separators=(',', ':')).replace('<', '\\u003c'),
        'photos': '\n'.join(
            f'<img id="photo-{number}" alt="" src="{url}">' for number, url in enumerate(photos)
        ),
        'blobs': '\n'.join(
            f'<script type="text/plain" id="blob-{number}">{text}</script>'
            for number, text in enumerate(blobs.items)
        ),
    }
    page = (_WEB / 'page.html').read_text('utf-8')
    return re.sub(r'\{\{(\w+)\}\}', lambda match: parts[match[1]], page)
