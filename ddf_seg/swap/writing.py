"""The text of a config that inherits another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .planning import Swap

LINE_LENGTH = 100


def config_text(swap: Swap, source: str, target: Path) -> str:
    """The text of a config that inherits `source` and changes what a swap says.

    Args:
        swap: of the config at `source`.
        source: a file, or a config of a package: 'mmseg::…'.
        target: where the text will be written.
    """
    # mmengine looks for a base beside the file that names it.
    base = source if '::' in source else Path(os.path.relpath(source, target.parent)).as_posix()
    lines = [f'# {note}' for note in swap.notes] + [f'_base_ = {base!r}']
    lines += [f'{key} = {_text(value, len(key) + 3, 0)}' for key, value in swap.options.items()]
    return '\n'.join(lines) + '\n'


def _text(value: Any, used: int, depth: int) -> str:
    """A value as configs write it, on one line where it fits beside what is there already.

    mmengine's own `pretty_text` sorts the keys and gives each number a line of its own.
    """
    pairs: list[tuple[str, Any]]
    if isinstance(value, dict) and all(str(key).isidentifier() for key in value):
        opening, closing = 'dict(', ')'
        pairs = [(f'{key}=', item) for key, item in value.items()]
    elif isinstance(value, dict):
        opening, closing = '{', '}'
        pairs = [(f'{key!r}: ', item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        pairs = [('', item) for item in value]
    else:
        return repr(value)
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    flat = ', '.join(name + _text(item, 0, 0) for name, item in pairs)
    flat = opening + flat + comma + closing
    if used + len(flat) < LINE_LENGTH and '\n' not in flat:
        return flat
    indent = '    ' * (depth + 1)
    items = [
        f'{indent}{name}{_text(item, len(indent) + len(name) + 1, depth + 1)},\n'
        for name, item in pairs
    ]
    return opening + '\n' + ''.join(items) + '    ' * depth + closing
