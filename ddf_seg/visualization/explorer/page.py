"""Builds the explorer page from a network's run on an image."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from bokeh.core.properties import value
from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady, MouseMove, Tap
from bokeh.models import (
    ColorBar,
    ColumnDataSource,
    CustomJS,
    LinearColorMapper,
    Range1d,
    Select,
    Slider,
    Spinner,
)
from bokeh.plotting import figure
from bokeh.resources import INLINE
from bokeh.transform import transform
from matplotlib.colors import to_hex

from ..basis import DEVIATIONS, LAB_CENTRE, LAB_REACH, FilterBasis
from ..inspection import Inspection
from ..pictures import layer_bases, pick_channels
from ..pictures.style import DIVERGING, SEQUENTIAL
from ..statistics import bilinear_weights
from .packing import PackedFilters, pack, pack_filters, pack_labels

# Bytes of the whole page
SIZE_LIMIT = 15_000_000
# Bokeh's scripts, ours, and what JSON puts around the maps
_OVERHEAD = 2_000_000
_FOLDER = Path(__file__).parent
_FONT = 'system-ui, sans-serif'


def _palette(name: str) -> list[str]:
    return [to_hex(mpl.colormaps[name](i / 255)) for i in range(256)]


def _layer_data(
    packed: PackedFilters, basis: FilterBasis, inspection: Inspection
) -> dict[str, Any]:
    call = packed.call
    rows, columns = packed.kept()
    largest = float(call.spatial_filters().abs().max())
    upsamples = call.operator == 'ddf_upsample'
    return {
        'operator': call.operator,
        'size': list(call.size),
        'density': list(inspection.density(call.size)),
        'thinning': packed.thinning,
        'rows': rows.tolist(),
        'columns': columns.tolist(),
        'groups': call.groups,
        'kernel': list(call.kernel_size),
        'channels': call.channels,
        'channels_neutral': call.channels_neutral,
        'phases': call.phases,
        'scale_factor': call.scale_factor,
        'combine': call.kernel_combine,
        'filters': packed.packed,
        'scale': packed.scale,
        'bits': packed.bits,
        'error': packed.error,
        'limit': largest or 1.0,
        'channel_filters': pack(call.channel_filters().numpy().astype('<f4')),
        'mean': basis.mean.tolist(),
        'components': basis.components.tolist(),
        'channel': pick_channels(call)[0],
        'bilinear': bilinear_weights(call.scale_factor, call.kernel_size).flatten().tolist()
        if upsamples
        else None,
        'reach': [
            [n // 2 * d for n, d in zip(call.kernel_size, call.dilation, strict=True)],
            list(inspection.density(call.features.shape[2:])),
            list(call.features.shape[2:]),
            list(call.stride),
        ],
    }


def _data(
    inspections: Sequence[Inspection], bases: Mapping[str, FilterBasis], size_limit: int
) -> tuple[dict[str, Any], str]:
    """What the page's script works on, and the image as a URL."""
    first = inspections[0]
    image = cv2.imencode('.jpg', first.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    url = 'data:image/jpeg;base64,' + base64.b64encode(image.tobytes()).decode()
    predictions = [pack_labels(inspection.prediction) for inspection in inspections]
    truth = pack_labels(first.truth) if first.truth is not None else None
    other = len(url) + sum(
        len(item['data']) for item in [*predictions, *([truth] if truth else [])]
    )
    calls = [call for inspection in inspections for call in inspection.calls]
    other += sum(8 * call.channel_filter.numel() for call in calls)
    packed = pack_filters(calls, max(size_limit - _OVERHEAD - other, 0))
    number = len(first.calls)
    runs = [
        {
            'title': inspection.title,
            'prediction': predictions[i],
            'layers': {
                item.call.layer: _layer_data(item, bases[item.call.layer], inspection)
                for item in packed[i * number : (i + 1) * number]
            },
        }
        for i, inspection in enumerate(inspections)
    ]
    data = {
        'size': list(first.size),
        'names': first.classes.names,
        'colours': first.classes.palette.tolist(),
        'note': first.classes.note,
        'truth': truth,
        'runs': runs,
        'diverging': _palette(DIVERGING),
        'sequential': _palette(SEQUENTIAL),
        'lab': {
            'centre': LAB_CENTRE.tolist(),
            'reach': LAB_REACH.tolist(),
            'range': DEVIATIONS,
        },
    }
    return data, url


def _image_figure(inspection: Inspection, url: str) -> tuple[Any, dict[str, Any]]:
    height, width = inspection.size
    plot = figure(
        name='image', x_range=Range1d(0, width), y_range=Range1d(height, 0),
        aspect_ratio=width / height, sizing_mode='stretch_width', tools='pan,wheel_zoom,reset',
        active_scroll=None, active_drag=None, toolbar_location='above', min_border=0,
        outline_line_color=None,
    )  # fmt: skip
    plot.axis.visible = False
    plot.grid.visible = False
    plot.toolbar.logo = None
    plot.image_url(url=[url], x=0, y=0, w=width, h=height, anchor='top_left')
    # The script puts overlays of any size here.
    nothing = np.zeros((1, 1), np.uint32)
    overlay = ColumnDataSource(
        {'image': [nothing], 'x': [0], 'y': [0], 'dw': [width], 'dh': [height]}
    )
    drawn = plot.image_rgba(
        'image', source=overlay, x='x', y='y', dw='dw', dh='dh', global_alpha=0.6,
    )  # fmt: skip
    columns = ('x', 'y', 'left', 'top', 'right', 'bottom', 'colour')
    boxes = ColumnDataSource({name: [] for name in columns})
    plot.quad(
        left='left', top='top', right='right', bottom='bottom', source=boxes, fill_alpha=0,
        line_color='colour', line_width=2,
    )  # fmt: skip
    # A ring of fixed size: what the taps cover may be tiny.
    plot.scatter(
        'x', 'y', source=boxes, marker='circle', size=22, fill_alpha=0, line_color='colour',
        line_width=2,
    )  # fmt: skip
    return plot, {'overlay': overlay, 'overlay_glyph': drawn.glyph, 'boxes': boxes}


def _filter_figure(name: str, kernel: Sequence[int], runs: int) -> tuple[Any, dict[str, Any]]:
    """Squares with numbers, in blocks that the script places: three beside, a row a network."""
    kh, kw = kernel
    width, height = 3 * kw + 2 * 0.5, runs * (kh + 0.9) - 0.8
    plot = figure(
        name=name, tools='', toolbar_location=None, sizing_mode='stretch_width',
        x_range=Range1d(-0.5, width - 0.5), y_range=Range1d(height - 0.5, -0.95),
        aspect_ratio=width / (height + 0.45 + 0.8), min_border=0, outline_line_color=None,
    )  # fmt: skip
    plot.axis.visible = False
    plot.grid.visible = False
    mapper = LinearColorMapper(_palette(DIVERGING), low=-1.0, high=1.0)
    cells = ColumnDataSource({'x': [], 'y': [], 'value': [], 'text': [], 'ink': []})
    captions = ColumnDataSource({'x': [], 'y': [], 'text': []})
    plot.rect(
        'x', 'y', width=1, height=1, source=cells, fill_color=transform('value', mapper),
        line_color='white', line_width=1,
    )  # fmt: skip
    plot.text(
        'x', 'y', text='text', source=cells, text_align='center', text_baseline='middle',
        text_font_size='11px', text_font=value(_FONT), text_color='ink',
    )  # fmt: skip
    plot.text(
        'x', 'y', text='text', source=captions, text_baseline='bottom', text_font_size='12px',
        text_font=value(_FONT), text_color='#5c6b7a',
    )  # fmt: skip
    bar = ColorBar(color_mapper=mapper, height=8, padding=4, major_label_text_font=_FONT)
    plot.add_layout(bar, 'below')
    return plot, {name: cells, f'{name}_captions': captions, f'{name}_mapper': mapper}


def _controls(inspections: Sequence[Inspection]) -> dict[str, Any]:
    first = inspections[0]
    layers = [call.layer for call in first.calls]
    overlays = [('none', 'none')]
    for number, inspection in enumerate(inspections):
        of = f' of {inspection.title}' if len(inspections) > 1 else ''
        overlays.append((f'prediction {number}', f'prediction{of}'))
        if first.truth is not None:
            overlays.append((f'error {number}', f'error{of}'))
        overlays.append((f'colours {number}', f'filter colours{of}'))
    if first.truth is not None:
        overlays.append(('truth', 'ground truth'))
    for number, inspection in enumerate(inspections):
        of = f' ({inspection.title})' if len(inspections) > 1 else ''
        overlays.append((f'similarity {number}', f'similarity to the pinned filter{of}'))
    stretch = {'sizing_mode': 'stretch_width'}
    return {
        'layer': Select(title='Layer', options=layers, value=layers[-1], name='layer', **stretch),
        'shown': Select(
            title='Overlay', options=overlays, value='colours 0', name='shown', **stretch
        ),
        'channel': Spinner(
            title='Channel of the effective filter', low=0, value=0, step=1, mode='int',
            name='channel', **stretch,
        ),
        'opacity': Slider(
            title='Opacity of the overlay', start=0, end=1, step=0.05, value=0.6, name='opacity',
            **stretch,
        ),
    }  # fmt: skip


def build_page(
    inspections: Sequence[Inspection],
    title: str,
    bases: Mapping[str, FilterBasis] | None = None,
    size_limit: int = SIZE_LIMIT,
) -> str:
    """The explorer page, as HTML.

    Args:
        inspections: one, or two of the same image to compare.
        title: the page's heading.
        bases: of the filter colours by layer; default: `layer_bases`.
        size_limit: bytes that the page shall not exceed; the filters are quantised accordingly.
    """
    data, url = _data(inspections, bases or layer_bases(inspections), size_limit)
    plot, models = _image_figure(inspections[0], url)
    kernels = [call.kernel_size for call in inspections[0].calls]
    kernel = max(kernels)
    roots: list[Any] = [plot]
    for name in ('spatial', 'effective'):
        filters, sources = _filter_figure(name, kernel, len(inspections))
        models.update(sources)
        roots.append(filters)
    controls = _controls(inspections)
    models.update(controls)
    roots += controls.values()
    for name, control in controls.items():
        control.js_on_change('value', CustomJS(code=f'window.ddfExplorer?.changed({name!r})'))
    plot.js_on_event(MouseMove, CustomJS(code='window.ddfExplorer?.moved(cb_obj.x, cb_obj.y)'))
    plot.js_on_event(Tap, CustomJS(code='window.ddfExplorer?.tapped(cb_obj.x, cb_obj.y)'))
    document = Document(title=title)
    for root in roots:
        document.add_root(root)
    start = CustomJS(args=models, code=f'window.startDDFExplorer({{{", ".join(models)}}})')
    document.js_on_event(DocumentReady, start)
    variables = {
        'style': (_FOLDER / 'explorer.css').read_text(),
        'script': (_FOLDER / 'explorer.js').read_text(),
        # Nothing in a name may end the script element.
        'data': json.dumps(data, separators=(',', ':')).replace('<', '\\u003c'),
        'title': title,
    }
    return file_html(
        document, INLINE, title, template=(_FOLDER / 'explorer.html').read_text(),
        template_variables=variables,
    )  # fmt: skip
