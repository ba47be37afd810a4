"""Fonts for names of classes in any script: DejaVu Sans has no Chinese, Japanese or Korean."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patheffects import Normal
from matplotlib.text import Text

FAMILY = 'DejaVu Sans'
# Characters that a warning was given of
_told: set[str] = set()


@functools.cache
def _characters(path: str) -> frozenset[int]:
    return frozenset(FT2Font(path).get_charmap())


@functools.cache
def _families(missing: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families of installed fonts that have these characters, and the characters that none has."""
    fonts: dict[str, font_manager.FontEntry] = {}
    for entry in font_manager.fontManager.ttflist:
        # It draws boxes, for each character that there is.
        if not entry.name.startswith('Last Resort'):
            fonts.setdefault(str(entry.fname), entry)
    # Upright ones first, then those without serifs, by name.
    order = sorted(
        fonts, key=lambda path: (fonts[path].style != 'normal', 'Serif' in fonts[path].name, path)
    )
    families = []
    left = set(missing)
    while left:
        found = {path: {c for c in left if ord(c) in _characters(path)} for path in order}
        best = max(order, key=lambda path: len(found[path]))
        if not found[best]:
            break
        families.append(fonts[best].name)
        left -= found[best]
    return tuple(families), frozenset(left)


def cover(figure: Figure) -> None:
    """Give the texts with characters that our font lacks other fonts that have them.

    Warns once of characters that no installed font has.
    """
    own = _characters(font_manager.findfont(FAMILY))
    lacking: dict[Text, frozenset[str]] = {}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        shown = frozenset(c for c in text.get_text() if not c.isspace() and ord(c) not in own)
        if shown:
            lacking[text] = shown
    if not lacking:
        return
    families, left = _families(frozenset().union(*lacking.values()))
    for text in lacking:
        text.set_fontfamily([FAMILY, *families])
        # As outlines: readers of PDF files do not show an OpenType font that matplotlib embeds.
        text.set_path_effects([Normal()])
    if left - _told:
        _told.update(left)
        listed = ''.join(sorted(left)[:20])
        warnings.warn(
            f'no installed font has the characters {listed}: the pictures show boxes in their '
            'place. Install one that has, e.g. apt install fonts-noto-cjk',
            stacklevel=2,
        )


@contextmanager
def quietly() -> Iterator[None]:
    """Without matplotlib's own words on glyphs and weights, one for each of them."""
    logger = logging.getLogger('matplotlib.font_manager')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Glyph .* missing from')
            yield
    finally:
        logger.setLevel(level)
