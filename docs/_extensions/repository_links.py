"""Links: between files of the repository, which a forge shows, too, and from name to docstring.

A page here that holds an include of a file elsewhere, and nothing more, stands for that file. All
links to the file lead to the page, and the file's own links are made relative to the page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

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


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element
) -> nodes.Element | None:
    """A name in a docstring, of whatever module, where one object alone has it."""
    if node.get('refdomain') != 'py':
        return None
    objects = env.domains.python_domain.objects
    named = [name for name in objects if name.endswith(f'.{node["reftarget"]}')]
    # An object has an alias in the module that defines it.
    places = {(objects[name].docname, objects[name].node_id): name for name in named}
    if len(places) != 1:
        return None
    ((page, anchor), name) = places.popitem()
    return make_refnode(app.builder, node['refdoc'], page, anchor, shown, name)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect('source-read', _read)
    app.connect('missing-reference', _resolve)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
