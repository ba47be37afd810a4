"""Replacing a function of another package, once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

_MARK = '_ddf_seg_mended'


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replaces `owner.name` by `around(original, *args, **kwargs)`, unless that was done before.

    Args:
        owner: module or class.
        name: name of a function in it.
        around: called in its place, with the original function as first argument.
    """
    original = getattr(owner, name)
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs)

    setattr(replacement, _MARK, True)
    setattr(owner, name, replacement)


def replace_everywhere(name: str, old: Any, new: Any) -> None:
    """Replaces `old` by `new` in every loaded mmengine module that imported it as `name`."""
    for module_name, module in list(sys.modules.items()):
        if module_name.partition('.')[0] == 'mmengine' and vars(module).get(name) is old:
            setattr(module, name, new)
