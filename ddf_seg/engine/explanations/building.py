"""Explains what mmengine's registries and the constructors they call reject."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import mmseg.registry
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner

from ...errors import UsageError, hint
from ..lookup.classes import arguments, lineage, resolve
from ..lookup.configs import join, walk
from .dataset_faults import explain_no_image
from .tracebacks import innermost_value, variables_of

# As mmengine's build_from_cfg and mmcv's build_norm_layer and its like put it.
_UNKNOWN_TYPES = (
    re.compile(r'^(\S+) is not in the .+ registry'),
    re.compile(r'^Cannot find (\S+) in registry under scope name'),
    re.compile(r'^Unrecognized \w+ type (\S+)'),
)
_UNKNOWN_ARGUMENT = re.compile(r"(\w+)\.(\w+)\(\) got an unexpected keyword argument '(\w+)'")
_MISSING_ARGUMENT = re.compile(r'([\w]+)\.__init__\(\) missing \d+ required .*arguments?: (.+)$')


@contextmanager
def explained(cfg: Config) -> Iterator[None]:
    """Turns what mmengine raises for a mistake in a config into a UsageError.

    Args:
        cfg: what is built, or run, within.

    Raises:
        UsageError: the config is to blame; any other error comes as it is.
    """
    try:
        yield
    except (KeyError, TypeError) as error:
        if found := explain_building(error, cfg):
            raise found from error
        raise
    except ValueError as error:
        # "need at least one array to concatenate"
        serializing = variables_of(error, '_serialize_data')
        if serializing:
            raise UsageError(explain_no_image(serializing['self'])) from error
        raise


def explain_building(error: KeyError | TypeError, cfg: Config) -> UsageError | None:
    """What a config has wrong, if that is why something could not be built from it.

    Args:
        error: raised while building or running what `cfg` describes.
        cfg: the config.

    Returns:
        The error to show instead, or None where the config is not to blame.
    """
    building = variables_of(error, 'build_from_cfg')
    message = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError):
        for pattern in _UNKNOWN_TYPES:
            if match := pattern.match(message):
                # mmcv formats what it found (None) instead of what it looked for.
                name = innermost_value(error, 'layer_type') if match[1] == 'None' else match[1]
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
    valid = list(arguments(kind)) if kind else []
    if owner == 'Runner':
        valid += inspect.signature(getattr(Runner, function)).parameters
    near = hint(key, [*valid, 'type']) or (f'; it has {", ".join(valid)}' if valid else '')
    name = kind.__name__ if kind else f'{owner}.{function}'
    return UsageError(f'{join(path, key)}: {name} has no argument {key!r}{near}')


def _explain_type(name: str, registry: Registry, cfg: Config) -> UsageError:
    names = {known for searched in lineage(registry) for known in searched.module_dict}
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
