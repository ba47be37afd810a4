"""Reading a config, and checking the keys of a config and of ``--cfg-options``."""

from __future__ import annotations

import ast
import inspect
import json
import re
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner

from .config_walk import join, walk
from .errors import UsageError, hint

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
# OpenMMLab's with configs or models that configs of mmseg import.
_PACKAGES = ('mmseg', 'mmdet', 'mmpretrain')
_EXAMPLE = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'


def runner_keys() -> set[str]:
    """The top-level keys of a config that become the Runner's arguments."""
    return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}


def known_keys() -> set[str]:
    """The top-level keys of a config that have a meaning, as opposed to variables of the file."""
    return runner_keys() | set(_OTHER_KEYS)


def load_config(path: str) -> Config:
    """Read a config file, or a package's own ('mmseg::fcn/fcn_r50-d8_…'), and check its keys.

    Raises:
        UsageError: If the file or one of its bases is missing, cannot be read, or has a mistyped
            top-level key.
    """
    package, separator, inside = path.partition('::')
    if separator and find_spec(package) is None:
        # mmengine would have pip install it.
        near = hint(package, _PACKAGES)
        raise UsageError(f'{path}: the package {package} is not installed{near}')
    if separator and not inside.endswith('.py'):
        raise UsageError(f'{path}: expected PACKAGE::FOLDER/CONFIG.py, e.g. {_EXAMPLE}')
    try:
        cfg = get_config(path) if separator else Config.fromfile(path)
    except Exception as error:
        raise UsageError(_explain_reading(path, error)) from error
    for key in cfg.keys() - known_keys():
        if near := hint(key, runner_keys(), _TYPO):
            raise UsageError(f'{path}: unknown key {key!r}{near}; nothing would read it')
    return cfg


def check_options(cfg: Config, options: dict[str, Any]) -> list[str]:
    """Check the keys of ``--cfg-options`` against the config they will be merged into.

    A key that a class takes is left to its constructor, which knows its arguments.

    Returns:
        Warnings about options that will have no effect.

    Raises:
        UsageError: If a key leads nowhere or is mistyped.
    """
    warnings = []
    for dotted, value in options.items():
        _check_path(cfg, dotted)
        name = dotted.partition('.')[0]
        if name not in known_keys():
            warnings.append(_explain_variable(cfg, name, dotted, value))
    return warnings


def check_values(cfg: Config) -> None:
    """Make sure that all values of a config can be written, as every run writes a copy of it.

    Raises:
        UsageError: If one has no form in a file, as a lambda, a class or an array. mmengine would
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


def _explain_reading(path: str, error: Exception) -> str:
    # mmengine compiles copies of the files: only its frames know which file was being read.
    reading = [path]
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name in ('_file2dict', '_is_lazy_import', '_parse_lazy_import'):
            reading.append(str(frame.f_locals['filename']))
        elif frame.f_code.co_filename == reading[-1]:
            line = number
    place = reading[-1] + (f', line {line}' if line else '')
    if isinstance(error, SyntaxError):
        text = f': {error.text.strip()}' if error.text else ''
        return f'{place}: {error.msg}{text}'
    if isinstance(error, FileNotFoundError):
        return _explain_missing(reading, error)
    if isinstance(error, ImportError) and error.__cause__ is not None:
        cause = error.__cause__.__context__ or error.__cause__
        name = cause.name.partition('.')[0] if isinstance(cause, ImportError) and cause.name else ''
        install = f'. Install it: pip install {name}' if name in _PACKAGES else ''
        return f'{place}: custom_imports: {cause}{install}'
    if isinstance(error, json.JSONDecodeError):
        return f'{place}: {error}'
    if isinstance(error, RuntimeError) and not str(error):
        # What LazyObject raises, without a word
        return (
            f'{place}: calls what was imported. In a config with imports (or read_base) mmengine '
            'keeps names of classes and functions only: write down the value, or register a '
            'function and give its name'
        )
    return f'{place}: {type(error).__name__}: {error}'


def _explain_missing(reading: list[str], error: FileNotFoundError) -> str:
    # check_file_exist: 'file "…" does not exist'
    missing = Path(error.filename or str(error).partition('"')[2].rpartition('"')[0] or reading[-1])
    message = f'{missing} does not exist{_near(missing)}'
    readers = [file for file in reading[1:] if Path(file).absolute() != missing.absolute()]
    return f'{readers[-1]}: _base_ {message}' if readers else f'config file {message}'


def _near(missing: Path) -> str:
    """A hint at what is near to the first part of a path that is not there."""
    above = next((parent for parent in missing.parents if parent.is_dir()), None)
    if above is None:
        return ''
    return hint(missing.relative_to(above).parts[0], [file.name for file in above.iterdir()])
