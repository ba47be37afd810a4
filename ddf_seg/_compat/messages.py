"""What OpenMMLab's packages say on standard output, which is the user's."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from .patching import replace_everywhere, wrap


def mend_debug_messages() -> bool:
    """Keeps messages for developers off standard output.

    `mmengine.logging.print_log` without a logger (mmengine 0.10.7, onedl-mmengine 0.10.12) prints
    whatever it gets, of any level. onedl-mmsegmentation 1.4.2 says 'Could not import OneDL' so,
    twice, whenever it is imported without a package that only its authors have.
    """
    module: Any = import_module('mmengine.logging.logger')
    old = module.print_log
    wrap(module, 'print_log', _print_log)
    replace_everywhere('print_log', old, module.print_log)
    return True


def _print_log(
    original: Any, msg: Any, logger: Any = None, level: int = logging.INFO, **others: Any
) -> None:
    if logger is not None or level > logging.DEBUG:
        original(msg, logger, level, **others)
