"""What registered classes say that they can stand in place of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from mmseg.registry import MODELS


class Replacement(Protocol):
    """What a class says of itself so that a swap puts it in: a head, a neck or a backbone.

    Attributes:
        replaces: names of the classes that it can stand in place of, with their arguments.
        brings: what it does there, in the words of a note; empty where the strides say it all.
        wants_strides_of: of a config, the indices of the levels, finest first, between which it
            upsamples and whose strides its `ddf_cfg` is to say. A backbone has none.
    """

    replaces: tuple[str, ...]
    brings: str
    wants_strides_of: Callable[[dict[str, Any]], Sequence[int]]


class Found(NamedTuple):
    """A class that can stand in another's place.

    Attributes:
        name: that it is registered by.
        kind: the class.
    """

    name: str
    kind: Any


def replacement_of(name: str) -> Found | None:
    """The registered class that says it can stand in place of another; None where none does."""
    for ours, kind in MODELS.module_dict.items():
        # Not what it inherits: a subclass of yours may do something else.
        if name in vars(kind).get('replaces', ()):
            return Found(ours, kind)
    return None


def replaced_by(base: type) -> list[str]:
    """The names of all classes that a class of ours, or one below it, can stand in place of."""
    kinds = (kind for kind in MODELS.module_dict.values() if isinstance(kind, type))
    return [name for k in kinds if issubclass(k, base) for name in vars(k).get('replaces', ())]


def strides_change(strides: Sequence[int]) -> dict[str, Any]:
    """What a config has to say of strides: nothing where each is twice the one before."""
    doubling = all(coarse == 2 * fine for fine, coarse in pairwise(strides))
    return {} if doubling else dict(ddf_cfg=dict(strides=list(strides)))


def in_words(items: Sequence[Any]) -> str:
    """Some items in a sentence."""
    texts = [str(item) for item in items]
    return ', '.join(texts[:-1]) + ' and ' + texts[-1] if len(texts) > 1 else ''.join(texts)
