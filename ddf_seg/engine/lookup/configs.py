"""Finding things in a config, by the dotted keys that `--cfg-options` takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def walk(node: Any, path: str = '') -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict of a config with its dotted key, list items by their index; '' is the root."""
    if isinstance(node, dict):
        yield path, node
        children: Any = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    else:
        return
    for key, child in children:
        yield from walk(child, join(path, key))


def kind_of(node: Any) -> str:
    """The name of the class that an entry of a config is built as, without its scope; else ''."""
    return str(node.get('type', '')).rpartition('.')[2] if isinstance(node, dict) else ''


def join(path: str, key: Any) -> str:
    """The dotted key of an entry of the node at `path`."""
    return f'{path}.{key}' if path else str(key)
