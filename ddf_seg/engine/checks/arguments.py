"""Mistyped arguments that no constructor rejects."""

from __future__ import annotations

from mmengine.config import Config

from ...errors import UsageError, hint
from ..lookup.classes import arguments, resolve, takes_anything
from ..lookup.configs import join, walk


def check_swallowed_arguments(cfg: Config) -> None:
    """Looks for mistyped arguments of classes that take any argument and complain late or never.

    mmseg's IoUMetric ignores what it does not know; CheckpointHook hands it to the function that
    saves, which fails at the first checkpoint.

    Raises:
        UsageError: such an argument is near to one that the class has.
    """
    for path, node in walk(cfg._cfg_dict):
        kind = resolve(node.get('type'))
        if kind is None or not takes_anything(kind):
            continue
        valid = set(arguments(kind))
        for key in node.keys() - valid - {'type', '_scope_'}:
            if near := hint(key, valid, 0.85):
                name = kind.__name__
                raise UsageError(f'{join(path, key)}: {name} has no argument {key!r}{near}')
