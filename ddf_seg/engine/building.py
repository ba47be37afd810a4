"""Explains what mmengine's registries and the constructors they call reject."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Iterator
from typing import Any

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from .config_walk import join, walk
from .errors import UsageError, hint

# As mmengine's build_from_cfg and mmcv's build_norm_layer and its like put it.
_UNKNOWN_TYPES = (
    re.compile(r'^(\S+) is not in the .+ registry'),
    re.compile(r'^Cannot find (\S+) in registry under scope name'),
    re.compile(r'^Unrecognized \w+ type (\S+)'),
)
_UNKNOWN_ARGUMENT = re.compile(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_MISSING_ARGUMENT = re.compile(r'([\w]+)\.__init__\(\) missing \d+ required .*arguments?: (.+)$')


def explain_building(error: KeyError | TypeError, cfg: Config) -> UsageError | None:
    """What a config has wrong, if that is why something could not be built from it.

    Args:
        error: Raised while building or running what ``cfg`` describes.
        cfg: The config.

    Returns:
        The error to show instead, or None where the config is not to blame.
    """
    building = _innermost_build(error)
    message = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError):
        for pattern in _UNKNOWN_TYPES:
            if match := pattern.match(message):
                # mmcv formats what it found (None) instead of what it looked for.
                name = _innermost(error, 'layer_type') if match[1] == 'None' else match[1]
                return _explain_type(
                    str(name), building.get('registry', mmseg.registry.MODELS), cfg
                )
        if '"type"' in message and building:
            return _explain_no_type(building['cfg'], cfg)
        return None
    if match := _UNKNOWN_ARGUMENT.search(message):
        return _explain_argument(match[1], match[2], match[3], building.get('obj_cls'), cfg)
    kind: Any = building.get('obj_cls')
    if (match := _MISSING_ARGUMENT.search(message)) and match[1] in _bases(kind):
        return UsageError(f'{kind.__name__} in the config lacks {match[2]}')
    return None


def check_swallowed_arguments(cfg: Config) -> None:
    """Look for mistyped arguments of classes that take any argument and complain late or never.

    mmseg's IoUMetric ignores what it does not know; CheckpointHook hands it to the function that
    saves, which fails at the first checkpoint.

    Raises:
        UsageError: If such an argument is near to one that the class has.
    """
    for path, node in walk(cfg._cfg_dict):
        kind = resolve(node.get('type'))
        if kind is None or not _takes_anything(kind):
            continue
        valid = set(_arguments(kind))
        for key in node.keys() - valid - {'type', '_scope_'}:
            if near := hint(key, valid, 0.85):
                name = kind.__name__
                raise UsageError(f'{join(path, key)}: {name} has no argument {key!r}{near}')


def resolve(name: Any) -> type | None:
    """The class that mmseg's registries know by the name a config's ``type`` has."""
    if not isinstance(name, str):
        return name if inspect.isclass(name) else None
    scope, _, name = name.rpartition('.')
    if scope not in ('', 'mmseg', 'mmengine'):
        return None
    for registry in vars(mmseg.registry).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            for searched in _lineage(registry):
                if inspect.isclass(kind := searched.module_dict.get(name)):
                    return kind
    return None


def _lineage(registry: Registry | None) -> Iterator[Registry]:
    while registry is not None:
        yield registry
        registry = registry.parent


def _explain_argument(
    owner: str, function: str, key: str, kind: Any, cfg: Config
) -> UsageError | None:
    holders = [(path, node) for path, node in walk(cfg._cfg_dict) if key in node]
    if owner in _bases(kind):
        holders.sort(key=lambda holder: resolve(holder[1].get('type')) is not kind)
    elif function != '__init__' and owner != 'Runner':
        return None
    if not holders:
        return None
    path, node = holders[0]
    kind = kind if owner in _bases(kind) else resolve(node.get('type'))
    valid = list(_arguments(kind)) if kind else []
    if owner == 'Runner':
        valid += inspect.signature(getattr(Runner, function)).parameters
    near = hint(key, [*valid, 'type']) or (f'; it has {", ".join(valid)}' if valid else '')
    name = kind.__name__ if kind else f'{owner}.{function}'
    return UsageError(f'{join(path, key)}: {name} has no argument {key!r}{near}')


def _innermost_build(error: BaseException) -> dict[str, Any]:
    """The variables of the innermost build_from_cfg that the error came through."""
    found: dict[str, Any] = {}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == 'build_from_cfg':
            found = frame.f_locals
    return found


def _innermost(error: BaseException, variable: str) -> Any:
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((found[variable] for found in reversed(frames) if variable in found), None)


def _explain_type(name: str, registry: Registry, cfg: Config) -> UsageError:
    names = {known for searched in _lineage(registry) for known in searched.module_dict}
    path = next((path for path, node in walk(cfg._cfg_dict) if node.get('type') == name), '')
    near = hint(name.rpartition('.')[2], names)
    return UsageError(
        f'{join(path, "type")}: {name!r} is not registered among the {registry.name}s{near}. Check '
        'the spelling; a class of your own must be named in custom_imports.'
    )


def _explain_no_type(given: dict[str, Any], cfg: Config) -> UsageError:
    # Compared as plain dicts: what mmengine builds from may be a copy.
    path = next((path for path, node in walk(cfg._cfg_dict) if path and node == given), '')
    keys = ', '.join(given) or 'nothing'
    return UsageError(
        f"{path or 'an entry of the config'} lacks 'type', it has only {keys}; "
        'a mistyped name of an entry that the bases have makes a new one'
    )


def _bases(kind: Any) -> set[str]:
    return {base.__name__ for base in kind.__mro__} if inspect.isclass(kind) else set()


def _constructors(kind: type) -> Iterator[inspect.Signature]:
    """The signature of a class, then those of its bases as far as ``**kwargs`` reach."""
    for base in kind.__mro__:
        if base is object or '__init__' not in vars(base):
            continue
        signature = inspect.signature(vars(base)['__init__'])
        yield signature
        if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return


def _arguments(kind: type) -> Iterator[str]:
    for signature in _constructors(kind):
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        yield from (p.name for p in parameters if p.name != 'self')


def _takes_anything(kind: type) -> bool:
    # Whether a base gets the rest, or nobody, its signature does not tell.
    own = next(_constructors(kind), None)
    return own is not None and any(p.kind is p.VAR_KEYWORD for p in own.parameters.values())
