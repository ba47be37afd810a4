"""The classes that a config names, and the arguments that they take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import mmseg.registry
from mmengine.registry import Registry


def resolve(name: Any) -> type | None:
    """The class that mmseg's registries know by the name a config's `type` has."""
    if not isinstance(name, str):
        return name if inspect.isclass(name) else None
    scope, _, name = name.rpartition('.')
    if scope not in ('', 'mmseg', 'mmengine'):
        return None
    for registry in vars(mmseg.registry).values():
        if isinstance(registry, Registry):
            registry.import_from_location()
            for searched in lineage(registry):
                if inspect.isclass(kind := searched.module_dict.get(name)):
                    return kind
    return None


def lineage(registry: Registry | None) -> Iterator[Registry]:
    """A registry and those that it asks for what it does not know."""
    while registry is not None:
        yield registry
        registry = registry.parent


def arguments(kind: type) -> Iterator[str]:
    """The names of a constructor's arguments, with those of the bases that it hands on to."""
    for signature in _constructors(kind):
        parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        yield from (p.name for p in parameters if p.name != 'self')


def takes_anything(kind: type) -> bool:
    """Whether a constructor has `**kwargs`.

    Whether a base gets them, or nobody, its signature does not tell.
    """
    own = next(_constructors(kind), None)
    return own is not None and _has_kwargs(own)


def _constructors(kind: type) -> Iterator[inspect.Signature]:
    """The signature of a class, then those of its bases as far as `**kwargs` reach."""
    for base in kind.__mro__:
        if base is object or '__init__' not in vars(base):
            continue
        signature = inspect.signature(vars(base)['__init__'])
        yield signature
        if not _has_kwargs(signature):
            return


def _has_kwargs(signature: inspect.Signature) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
