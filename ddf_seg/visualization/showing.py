"""What notebooks show: the calls that were captured, and the page to explore a network."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .basis import FilterBasis
from .calls import FilterCall

_SIDE = 160


def picture_url(image: np.ndarray, quality: int = 85) -> str:
    """An RGB image as the URL of a JPEG."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    content = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return 'data:image/jpeg;base64,' + base64.b64encode(content.tobytes()).decode()


def _picture(call: FilterCall) -> str:
    if call.pixels_alike:
        return 'all pixels alike'
    own = call.own_filters()
    colours = FilterBasis.fit([own]).colours(own)
    scale = _SIDE / max(call.size)
    size = tuple(max(1, round(n * scale)) for n in call.size[::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    url = picture_url(cv2.resize(colours, size, interpolation=how))
    return f'<img alt="colours of the filters of {html.escape(call.layer)}" src="{url}">'


def calls_html(calls: Sequence[FilterCall]) -> str:
    """A table of calls: layer, operator, filters and their colours, of the first image."""
    rows = []
    for call in calls:
        size = f'{call.size[1]}×{call.size[0]}'
        kernel = f'{call.kernel_size[0]}×{call.kernel_size[1]}'
        change = f', ×{call.scale_factor}' if call.scale_factor > 1 else ''
        groups = f', {call.groups} groups' if call.groups > 1 else ''
        shown = _picture(call) if call.spatial_filter.shape[0] else 'no image'
        cells = (
            f'<code>{html.escape(call.layer)}</code>', f'{call.operator}{change}', size,
            f'{kernel}{groups}', str(call.channels), shown,
        )  # fmt: skip
        rows.append('<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
    heads = ('layer', 'operator', 'pixels', 'taps', 'channels', 'similar colours: similar filters')
    head = ''.join(f'<th>{name}</th>' for name in heads)
    return f'<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


class Exploration:
    """The page to explore a network's filters on an image; a notebook shows it.

    Attributes:
        page: as HTML.
        height: of the page in a notebook, in pixels.
    """

    def __init__(self, page: str, height: int) -> None:
        self.page = page
        self.height = height

    def save(self, file: str | Path) -> None:
        """Writes the page, which opens without a network."""
        Path(file).write_text(self.page, encoding='utf-8', errors='backslashreplace')

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="Filters" style="width: 100%; height: {self.height}px; border: 0" '
            f'srcdoc="{html.escape(self.page)}"></iframe>'
        )


def explore(
    model: Any,
    image: np.ndarray | str | Path,
    classes: Any = None,
    layers: Sequence[str] | None = None,
    truth: np.ndarray | None = None,
    height: int = 820,
) -> Exploration:
    """Runs a segmentor on an image and makes the page to explore its filters.

    Args:
        model: as mmseg's `init_model` returns it.
        image: a file, or (H, W, 3) uint8, BGR as OpenCV reads it.
        classes: names and colours (`Classes`); default: those of the model's `dataset_meta`.
        layers: see `capture_filters`.
        truth: class ids (H, W).
        height: of the page in a notebook, in pixels.

    Raises:
        FileNotFoundError: there is no such file, or it is no image.
        ValueError: see `capture_filters`.
    """
    # These need OpenMMLab and matplotlib, captured calls do not.
    from ..engine.images.pictures import UnreadableError, read_picture
    from ..engine.predicting.classes import make_classes
    from .explorer import build_page
    from .inspection import inspect_image

    name = 'image'
    pixels: Any = image
    if not isinstance(image, np.ndarray):
        name = Path(image).name
        try:
            pixels = read_picture(Path(image))
        except UnreadableError as error:
            raise FileNotFoundError(
                f'image: expected an image file, got {image}: {error}'
            ) from error
    if classes is None:
        meta = getattr(model, 'dataset_meta', None) or {}
        classes = make_classes(meta, model.num_classes)
    inspection = inspect_image(model, pixels, classes, layers, type(model).__name__, truth)
    return Exploration(build_page([[inspection]], f'Filters on {name}', [name]), height)
