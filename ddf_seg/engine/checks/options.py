"""Keys and values of a config, and of the `--cfg-options` that change it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from ...errors import UsageError, hint
from ..lookup.configs import join, walk

# Top-level keys that mmengine and mmseg's tools read besides the Runner's arguments.
_OTHER_KEYS = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'dataset_check',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'tta_model',
    'tta_pipeline',
)
# A near miss at the top level is a typo only when very near: config files define any variable.
_TYPO = 0.85


def runner_keys() -> set[str]:
    """The top-level keys of a config that become the Runner's arguments."""
    return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}


def known_keys() -> set[str]:
    """The top-level keys of a config that have a meaning, as opposed to variables of the file."""
    return runner_keys() | set(_OTHER_KEYS)


def check_keys(cfg: Config, path: str) -> None:
    """Looks for mistyped top-level keys.

    Args:
        cfg: the config.
        path: of its file, for the message.

    Raises:
        UsageError: a key that nothing would read is near to one of the Runner's arguments.
    """
    for key in cfg.keys() - known_keys():
        if near := hint(key, runner_keys(), _TYPO):
            raise UsageError(f'{path}: unknown key {key!r}{near}; nothing would read it')


def check_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Checks the keys of `--cfg-options` against the config they will be merged into.

    A key that a class takes is left to its constructor, which knows its arguments.

    Returns:
        Warnings about options that will have no effect.

    Raises:
        UsageError: a key leads nowhere or is mistyped.
    """
    warnings = []
    for dotted, value in options.items():
        _check_path(cfg, dotted)
        name = dotted.partition('.')[0]
        if name not in known_keys():
            warnings.append(_explain_variable(cfg, name, dotted, value))
    return warnings


def check_values(cfg: Config) -> None:
    """Makes sure that all values of a config can be written, as every run writes a copy of it.

    Raises:
        UsageError: one has no form in a file, as a lambda, a class or an array. mmengine would
            quote the whole config.
    """
    for path, value in _leaves(cfg.to_dict()):
        if value is None or isinstance(value, (str, int, float)):
            continue
        try:
            ast.parse(str(value), mode='eval')
        except SyntaxError:
            shown = re.sub(r' at 0x\w+', '', repr(value))
            raise UsageError(
                f'{path}: {shown[:80]} cannot be written into the copy of the config that a run '
                'keeps: expected text, numbers, lists and dicts. A class or function of your own: '
                'register it (mmseg.registry) in a module that custom_imports names, and give its '
                'name'
            ) from None


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if not isinstance(node, (dict, list, tuple)):
        yield path, node
        return
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(child, join(path, key))


def _check_path(cfg: Config, dotted: str) -> None:
    node: Any = cfg._cfg_dict
    path = ''
    for key in dotted.split('.'):
        where = f'--cfg-options {dotted}'
        if isinstance(node, dict):
            if key not in node:
                _check_new_key(node, path, key, where)
                return
            node = node[key]
        elif isinstance(node, (list, tuple)):
            if not key.isdigit() or int(key) >= len(node):
                raise UsageError(
                    f'{where}: {path} is a list: expected an index from 0 to {len(node) - 1}, '
                    f'got {key!r}'
                )
            node = node[int(key)]
        elif node is not None:
            raise UsageError(f'{where}: {path} is {node!r}, which has no key {key!r}')
        path = join(path, key)


def _check_new_key(node: dict[str, Any], path: str, key: str, where: str) -> None:
    if not path:
        if key not in known_keys():
            near = hint(key, known_keys() | node.keys())
            raise UsageError(f'{where}: the config has no key {key!r}{near}')
    elif 'type' not in node and (near := hint(key, node, 0.8)):
        raise UsageError(f'{where}: {path} has no key {key!r}{near}')


def _explain_variable(cfg: Config, name: str, dotted: str, value: Any) -> str:
    old = cfg[name]
    used = [
        join(path, key)
        for path, node in walk(cfg._cfg_dict)
        for key, item in node.items()
        if path and path.partition('.')[0] in known_keys() and type(item) is type(old)
        if item == old
    ]
    instead = f'; set {" ".join(f"{path}={value}" for path in used[:4])} instead' if used else ''
    return (
        f'--cfg-options {dotted} has no effect on what the config file computed from {name}: '
        f'options are applied after the file is read{instead}'
    )
