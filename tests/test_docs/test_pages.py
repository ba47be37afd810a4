"""What the pages name exists: links, files, options, messages. `make docs` builds them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from scripts import ROOT

from ddf_seg import cli
from ddf_seg.cli import convert

PAGES = sorted(
    [
        *(page for page in ROOT.glob('*.md')),
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'docs/tutorials').glob('*.ipynb'),
        *(ROOT / 'ops').rglob('*.md'),
    ]
)
_LINK = re.compile(r'(?<=\]\()(?!\w+:)([^)\s]+)')
_CODE = re.compile(r'```.*?```|`[^`\n]+`', re.DOTALL)
_FILE = re.compile(
    r'(?<![\w./:-])(?:\.\./)*((?:tools|configs|docs|ops|benchmarks|dev|ddf_seg|checkpoints|tests)'
    r'/[\w./-]*\w)(?![\w*{…/]|\.\w)'
)
# What somebody builds, or who follows a recipe writes
_MADE = ('ddf_seg/_C_', 'configs/ddf_NAME', 'ddf_seg/ids', 'ddf_seg/config.py', 'ddf_seg/splits')
TOOLS = {
    'tools/check_dataset.py': 'check',
    'tools/get_flops.py': 'flops',
    'tools/swap_heads.py': 'swap',
    'tools/visualize_filters.py': 'visualize',
    **{
        f'tools/{name}.py': name
        for name in ('init', 'train', 'test', 'predict', 'export', 'classify', 'depth')
    },
    **{f'tools/dataset_converters/{name}.py': f'convert {name}' for name in convert.NAMES},
    'tools/dataset_converters/synthetic_scenes.py': 'scenes',
    'tools/dataset_converters/unpack.py': 'unpack',
    'tools/model_converters/publish.py': 'publish',
}


def identify(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def text_of(page: Path) -> str:
    """A page's Markdown; of a notebook, its cells'."""
    text = page.read_text()
    if page.suffix == '.ipynb':
        cells = json.loads(text)['cells']
        return '\n'.join(''.join(cell['source']) for cell in cells)
    found = re.fullmatch(r'```\{include\} (\S+)\n```\n*', text)
    return text_of((page.parent / found[1]).resolve()) if found else text


def anchors(page: Path) -> set[str]:
    """As GitHub and MyST make them of headings."""
    headings = re.findall(r'^#+ (.+)$', re.sub(r'```.*?```', '', text_of(page), flags=re.S), re.M)
    plain = (re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', heading) for heading in headings)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in plain}


@pytest.mark.parametrize('page', PAGES, ids=identify)
def test_links_lead_somewhere(page: Path) -> None:
    if page.read_text().startswith('```{include}'):
        return  # its file is a page of its own
    for link in _LINK.findall(text_of(page)):
        path, _, anchor = link.partition('#')
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f'{link}: no such file'
        if anchor and target.suffix == '.md':
            assert anchor in anchors(target), f'{link}: no such heading'


# Pages below ops/ name files relative to theirs; logs, files of their time.
OF_TODAY = [
    page
    for page in PAGES
    if page.name not in ('CHANGELOG.md', 'study-log.md') and ROOT / 'ops' not in page.parents
]


@pytest.mark.parametrize('page', OF_TODAY, ids=identify)
def test_files_that_are_named_exist(page: Path) -> None:
    code = '\n'.join(_CODE.findall(text_of(page)))
    for name in _FILE.findall(code):
        if not name.startswith(_MADE) and 'NAME' not in name:
            assert (ROOT / name).exists(), name


def command_lines() -> Iterator[tuple[str, str, str]]:
    """The page, the command and the rest of every command line in a page."""
    for page in PAGES:
        if page.name in ('study-log.md', 'CHANGELOG.md'):
            continue
        for block in _CODE.findall(text_of(page)):
            for line in block.replace('\\\n', ' ').strip('`').splitlines():
                for path, command in TOOLS.items():
                    line = line.replace(path, f'ddf-seg {command}')
                found = re.search(
                    r'ddf-seg ((?:convert )?[a-zA-Z][\w-]*)(.*)', line.partition('  #')[0]
                )
                if found:
                    yield identify(page), found[1], re.split(r' [|;&]|`', found[2])[0]


def test_options_that_are_named_exist() -> None:
    lines = list(command_lines())
    assert len(lines) > 40
    shared = (ROOT / 'ddf_seg/command_line.py').read_text()
    converting = (ROOT / 'ddf_seg/annotations/converting.py').read_text()
    for page, command, rest in lines:
        name = command.split()[-1]
        assert name in (*cli.COMMANDS, *convert.NAMES, 'COMMAND'), f'{page}: ddf-seg {command}'
        options = re.findall(r'(?<!\S)--?[a-z][\w-]*', rest)
        if name == 'COMMAND' or not options:
            continue
        module = ROOT / 'ddf_seg/cli' / f'{command.replace(" ", "/").replace("-", "_")}.py'
        known = module.read_text() + shared + converting + "'--help'"
        for option in options:
            assert f"'{option}'" in known, f'{page}: ddf-seg {command} {option}'


def constants(tree: ast.AST) -> str:
    """All text in a program, with a gap where values are put in."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else '…' for p in node.values)
            found.append(''.join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return '\n'.join(found)


def test_messages_are_the_programs_own() -> None:
    sources = [constants(ast.parse(f.read_text())) for f in (ROOT / 'ddf_seg').rglob('*.py')]
    program = '\n'.join(sources)
    text = text_of(ROOT / 'docs/troubleshooting.md')
    rows = re.findall(r'^\| `([^`]+)`', text, re.M)
    assert len(rows) > 25
    # Of setuptools, torch and CUDA
    others = ('No module named', 'Address already in use', 'CUDA out of memory')
    for row in rows:
        if not row.startswith(others):
            for part in row.split('…'):
                assert part.strip() in program, row


def test_every_page_is_in_the_index() -> None:
    lists = re.findall(
        r'```\{toctree\}\n(.*?)```',
        '\n'.join(page.read_text() for page in (ROOT / 'docs').rglob('*.md')),
        re.S,
    )
    listed = {Path(line).name for text in lists for line in text.splitlines()}
    docs = [page for page in PAGES if ROOT / 'docs' in page.parents and page.stem != 'index']
    assert [identify(page) for page in docs if page.stem not in listed] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 130
