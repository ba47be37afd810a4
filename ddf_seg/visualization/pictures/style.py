"""How all pictures look: type, colours, and the drawing of a filter."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from ...files import write_whole
from . import fonts

# Safe for colour-blind eyes: blue-white-red, blue-grey-yellow, and for directions a circle of dark,
# blue, white and orange, which leaves grey for what has no direction.
DIVERGING, SEQUENTIAL = 'RdBu_r', 'cividis'
CYCLIC = LinearSegmentedColormap.from_list(
    'directions', ['#14182e', '#2f7fd6', '#ffffff', '#e57817', '#14182e']
)
INK, FAINT = '#1d2733', '#5c6b7a'
MARK = '#ffb000'
ERROR = np.array([213, 40, 120], np.uint8)
DPI = 130

# Any: matplotlib names every key there is in its annotation.
_STYLE: Any = {
    'font.family': fonts.FAMILY,
    'font.size': 8,
    'text.color': INK,
    'axes.edgecolor': '#aab4be',
    'axes.labelcolor': FAINT,
    'axes.linewidth': 0.6,
    'axes.titlesize': 8,
    'axes.titlecolor': INK,
    'axes.titlepad': 4,
    'xtick.color': FAINT,
    'ytick.color': FAINT,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'image.interpolation': 'nearest',
    'pdf.fonttype': 42,
    # A dollar in a name is a dollar.
    'text.parse_math': False,
}


@contextmanager
def style() -> Iterator[None]:
    """The settings under which figures are made and saved."""
    with mpl.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float, title: str, caption: str) -> Figure:
    """A figure of this size in inches, with its title at the top and an explanation at the foot."""
    # A character of the title takes some 0.08 inches.
    width = max(width, 0.09 * len(title) + 0.2)
    figure = Figure((width, height), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, x=0.012, ha='left', fontsize=11, fontweight='bold')
    # Some 15 characters of this size fill an inch.
    lines = textwrap.fill(caption, int(15 * width))
    figure.supxlabel(lines, x=0.012, ha='left', fontsize=7.5, color=FAINT)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Writes stem.png and stem.pdf."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    fonts.cover(figure)
    for suffix in ('png', 'pdf'):
        # No time in the file: the same picture is the same file.
        metadata = {'CreationDate': None} if suffix == 'pdf' else {}
        content = BytesIO()
        with fonts.quietly():
            figure.savefig(content, format=suffix, metadata=metadata)
        write_whole(stem.with_name(f'{stem.name}.{suffix}'), content.getvalue())
        # Everything has its place now; finding it anew takes as long as drawing.
        figure.set_layout_engine('none')


def to_array(figure: Figure) -> np.ndarray:
    """The figure as an image, (H, W, 3) uint8, RGB."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    fonts.cover(figure)
    with fonts.quietly():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def bare(axes: Axes) -> None:
    """No ticks, a thin frame."""
    axes.set(xticks=[], yticks=[])


def symmetric_limit(values: np.ndarray) -> float:
    """The end of a colour scale that is symmetric around zero."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def draw_map(
    axes: Axes,
    values: Any,
    extent: tuple[float, float, float, float],
    size: tuple[int, int],
    **kwargs: Any,
) -> Any:
    """Draws a map so that each of its pixels stands where it stands in the image.

    Args:
        values: (H', W') or (H', W', 3), for `Axes.imshow`.
        extent: see `Inspection.extent`.
        size: (H, W) of the image; what lies beyond is cut off.
        kwargs: for `Axes.imshow`.
    """
    shown = axes.imshow(values, extent=extent, aspect='equal', interpolation='nearest', **kwargs)
    axes.set_xlim(0, size[1])
    axes.set_ylim(size[0], 0)
    bare(axes)
    return shown


def draw_filter(axes: Axes, values: np.ndarray, limit: float, numbers: bool = True) -> None:
    """A filter as coloured squares, each with its value.

    Args:
        values: (kh, kw); NaN squares stay empty.
        limit: end of the colour scale, both ways.
        numbers: write the values, if the kernel is small enough for that.
    """
    axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit)
    bare(axes)
    if not numbers or max(values.shape) > 5:
        return
    size = 6.5 if max(values.shape) <= 3 else 4.5
    for y, x in np.ndindex(*values.shape):
        value = values[y, x]
        if np.isfinite(value):
            colour = 'white' if abs(value) > 0.65 * limit else INK
            number = f'{value:.2f}'.replace('-0.00', '0.00').replace('-', '−')
            axes.text(x, y, number, ha='center', va='center', fontsize=size, color=colour)


def mosaic(tiles: np.ndarray) -> np.ndarray:
    """Filters (r, r, kh, kw) as one array, with gaps of a third of a tap between them."""
    tiles = tiles.repeat(3, 2).repeat(3, 3)
    rows, columns, kh, kw = tiles.shape
    whole = np.full((rows * (kh + 1) - 1, columns * (kw + 1) - 1), np.nan, np.float32)
    for y, x in np.ndindex(rows, columns):
        whole[y * (kh + 1) :, x * (kw + 1) :][:kh, :kw] = tiles[y, x]
    return whole


def beside(axes: Axes) -> Axes:
    """Room for a bar at the right of a map, as high as the map."""
    return axes.inset_axes((1.02, 0.0, 0.035, 1.0))


def add_bar(figure: Figure, axes: Any, limit: float, label: str, **kwargs: Any) -> None:
    """A bar for a symmetric scale beside or below the given axes."""
    mappable = ScalarMappable(Normalize(-limit, limit), DIVERGING)
    bar = figure.colorbar(mappable, ax=axes, **kwargs)
    bar.set_label(label)
    bar.outline.set_linewidth(0.4)
