"""A stand-in for mmcv's compiled operators where mmcv was installed without them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NoReturn

_NAME = 'mmcv._ext'


class _MissingOps(ModuleType):
    """Has every operator that mmcv asks for; calling one raises."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith('__'):
            raise AttributeError(f'module {_NAME!r} has no attribute {name!r}')

        def missing(*args: Any, **kwargs: Any) -> NoReturn:
            raise NotImplementedError(
                f"mmcv's compiled operator {name!r} is not installed: this is mmcv-lite, or an "
                'mmcv built without operators. Whatever called it needs the full mmcv.'
            )

        missing.__name__ = missing.__qualname__ = name
        return missing


def mend_missing_ops() -> bool:
    """Lets `import mmseg.models` work without mmcv's compiled operators.

    mmcv-lite 2.1.0 (and onedl-mmcv built without operators) has no `mmcv._ext`, yet
    mmsegmentation 1.2.2 imports `mmcv.ops` for a few of its heads: `ModuleNotFoundError: No
    module named 'mmcv._ext'`. An `mmcv._ext` that exists is left alone, even where loading it
    fails: that error is the user's to see.
    """
    loaded = sys.modules.get(_NAME)
    if loaded is not None:
        return isinstance(loaded, _MissingOps)
    if find_spec('mmcv') is None or find_spec(_NAME) is not None:
        return False
    placeholder = _MissingOps(_NAME, 'Stands in for the compiled operators that are not installed.')
    # mmengine and mmcv take mmcv for the full one when find_loader finds a loader.
    placeholder.__spec__ = ModuleSpec(_NAME, loader=None)
    sys.modules[_NAME] = placeholder
    return True
