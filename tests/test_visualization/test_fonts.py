"""Names of classes in scripts that DejaVu Sans has not."""

from __future__ import annotations

import re
import warnings
import zlib
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import matplotlib as mpl
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.t2CharStringPen import T2CharStringPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from ddf_seg.visualization.pictures import fonts, save, style, to_array

ROAD = '道'
EM = 1000


@pytest.fixture
def square_font(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs a font, of the kind of Noto's, in which the character is a filled square."""
    builder = FontBuilder(EM, isTTF=False)
    builder.setupGlyphOrder(['.notdef', 'road'])
    builder.setupCharacterMap({ord(ROAD): 'road'})
    pen = T2CharStringPen(EM, None)
    pen.moveTo((0, 0))
    for corner in ((EM, 0), (EM, EM), (0, EM)):
        pen.lineTo(corner)
    pen.closePath()
    outlines = {'road': pen.getCharString(), '.notdef': T2CharStringPen(EM, None).getCharString()}
    builder.setupCFF('Square', {}, outlines, {})
    builder.setupHorizontalMetrics({'.notdef': (EM, 0), 'road': (EM, 0)})
    builder.setupHorizontalHeader(ascent=EM, descent=0)
    builder.setupNameTable({'familyName': 'Square', 'styleName': 'Regular'})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / 'square.otf')
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, 'ttflist', list(manager.ttflist))
    manager.addfont(tmp_path / 'square.otf')
    fonts._families.cache_clear()
    yield
    fonts._families.cache_clear()


def write(text: str) -> Figure:
    """A figure of 200×100 pixels with a text of 40 pixels."""
    with style.style():
        figure = Figure((2, 1), dpi=100)
        figure.text(0.1, 0.3, text, fontsize=40 * 72 / 100, color='black')
        mpl.backends.backend_agg.FigureCanvasAgg(figure)
        return figure


@pytest.mark.usefixtures('square_font')
def test_another_font_draws_what_ours_lacks(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        # A box in its place would be a thin line around.
        ink = (to_array(write(ROAD)) < 128).all(2).sum()
        assert ink == pytest.approx(40 * 40, rel=0.1)
        both = (to_array(write(f'I{ROAD}')) < 128).all(2).sum()
    assert both > ink + 20


@pytest.mark.usefixtures('square_font')
def test_a_pdf_shows_it_as_an_outline(tmp_path: Path) -> None:
    """Readers show nothing of an OpenType font that matplotlib embeds."""
    save(write(ROAD), tmp_path / 'picture')
    content = (tmp_path / 'picture.pdf').read_bytes()
    assert b'Square' not in content
    streams = re.findall(rb'stream\r?\n(.*?)\r?\nendstream', content, re.DOTALL)
    drawn = b' '.join(zlib.decompress(stream) for stream in streams)
    points = np.array(re.findall(rb'(-?[\d.]+) (-?[\d.]+) [ml]\b', drawn), float)
    # Points of 1/72 inch; the figure itself is a path, too.
    side = 40 * 72 / 100
    corners = points[(points < [144 - 1e-3, 72 - 1e-3]).all(1) & (points > 1e-3).all(1)]
    np.testing.assert_allclose(corners.max(0) - corners.min(0), side, rtol=0.02)


def test_what_no_font_has_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, '_told', set())
    nobodys = '\U0010fffd'
    with pytest.warns(UserWarning, match='no installed font has the characters') as given:
        to_array(write(nobodys))
    assert len(given) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        to_array(write(f'again {nobodys}'))


def test_a_dollar_is_a_dollar() -> None:
    """And not the beginning of a formula, which might have mistakes."""
    to_array(write(r'a$\wrong{$b'))
