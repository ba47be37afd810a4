"""Reads a config: its errors explained, its keys and those of `--cfg-options` checked."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config

from ..errors import UsageError, hint
from .checks.options import check_keys, check_options
from .explanations.config_files import PACKAGES, explain_reading

_EXAMPLE = 'mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'


def read_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Reads a config and merges `--cfg-options` into it; warnings of these go to stderr.

    Raises:
        UsageError: see `load_config` and `check_options`.
    """
    cfg = load_config(path)
    warn_of_options(cfg, options)
    cfg.merge_from_dict(options or {})
    return cfg


def warn_of_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Checks the `--cfg-options` to be merged into a config; warnings go to stderr.

    Raises:
        UsageError: see `check_options`.
    """
    for warning in check_options(cfg, options or {}):
        sys.stderr.write(f'warning: {warning}\n')


def load_config(path: str) -> Config:
    """Reads a config file, or a package's own ('mmseg::fcn/fcn_r50-d8_…'), and checks its keys.

    Raises:
        UsageError: the file or one of its bases is missing or cannot be read, or a top-level key is
            mistyped.
    """
    package, separator, inside = path.partition('::')
    if separator and find_spec(package) is None:
        # mmengine would have pip install it.
        near = hint(package, PACKAGES)
        raise UsageError(f'{path}: the package {package} is not installed{near}')
    if separator and not inside.endswith('.py'):
        raise UsageError(f'{path}: expected PACKAGE::FOLDER/CONFIG.py, e.g. {_EXAMPLE}')
    try:
        cfg = get_config(path) if separator else Config.fromfile(path)
    except Exception as error:
        raise explain_reading(path, error) from error
    check_keys(cfg, path)
    return cfg
