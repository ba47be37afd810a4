"""What OpenMMLab logs about the machine and the software that it runs on."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..ops import native
from .patching import replace_everywhere, wrap

ENTRY = 'DDF operators'


def _with_operators(collect_env: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {**collect_env(), ENTRY: str(native.load('cpu'))}


def mend_environment_info() -> bool:
    """Says in the environment info whether the DDF operators run compiled or in plain torch.

    `mmengine.utils.dl_utils.collect_env` (mmengine 0.10.7, onedl-mmengine 0.10.12), which every
    run logs first and every bug report quotes, has a fixed list of packages. In plain torch the
    operators are several times slower, which a log must be able to explain.
    """
    module: Any = import_module('mmengine.utils.dl_utils.collect_env')
    original = module.collect_env
    wrap(module, 'collect_env', _with_operators)
    replace_everywhere('collect_env', original, module.collect_env)
    return True
