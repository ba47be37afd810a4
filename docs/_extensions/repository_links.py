"""Markdown that a forge shows as it is, in Sphinx: links between files of the repository.

A page here that holds an include of a file elsewhere, and nothing more, stands for that file. All
links to the file lead to the page, and the file's own links are made relative to the page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
_INCLUDE = re.compile(r'\A```\{include\} (\S+)\n```\n*\Z')
_LINK = re.compile(r'(?<=\]\()(?!\w+:|#|/)([^)\s#]+)')


def stands_for(page: Path) -> Path | None:
    """The file that a page includes as a whole."""
    found = _INCLUDE.match(page.read_text()) if page.suffix == '.md' else None
    return (page.parent / found[1]).resolve() if found else None


def pages_of(docs: Path) -> dict[Path, Path]:
    """From files elsewhere in the repository to the pages that stand for them."""
    found = {stands_for(page): page for page in sorted(docs.rglob('*.md'))}
    return {file: page for file, page in found.items() if file is not None}


def relinked(text: str, source: Path, page: Path, pages: dict[Path, Path]) -> str:
    """Text whose links are relative to a file, with links relative to a page."""

    def replace(link: re.Match[str]) -> str:
        target = (source.parent / link[1]).resolve()
        return os.path.relpath(pages.get(target, target), page.parent)

    return _LINK.sub(replace, text)


def _read(app: Sphinx, name: str, content: list[str]) -> None:
    page = Path(app.env.doc2path(name)).resolve()
    if page.suffix != '.md':
        return
    source = stands_for(page)
    if source is not None:
        app.env.note_dependency(str(source))
        content[0] = source.read_text()
    content[0] = relinked(content[0], source or page, page, pages_of(Path(app.srcdir)))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect('source-read', _read)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
