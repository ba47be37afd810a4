"""Our own configs by name, `ddf_seg::ddf_camvid.py`, as mmengine finds those of mmseg."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .patching import replace_everywhere, wrap

NAME = 'ddf_seg'


def register_configs() -> None:
    """Makes mmengine find the configs of ddf_seg, in `.mim/configs` as OpenMMLab's packages.

    `mmengine.config.utils.MODULE2PACKAGE` (mmengine 0.10.7 and onedl-mmengine 0.10.12) lists the
    packages that may have some: `AssertionError: mmengine does not support to load ddf_seg config.`
    The name of a config must hold a folder there. What a base config of another package builds gets
    that package's name as scope; ours builds in mmseg's.
    """
    utils: Any = import_module('mmengine.config.utils')
    utils.MODULE2PACKAGE[NAME] = NAME
    name = '_get_package_and_cfg_path'
    old = getattr(utils, name)
    wrap(utils, name, _split)
    replace_everywhere(name, old, getattr(utils, name))
    # A static method: a function of the class
    wrap(import_module('mmengine.config.config').Config, '_get_cfg_path', _without_our_scope)


def _split(original: Any, cfg_path: str) -> tuple[str, str]:
    package, separator, inside = cfg_path.partition('::')
    if separator and package == NAME:
        return package, inside
    found: tuple[str, str] = original(cfg_path)
    return found


def _without_our_scope(original: Any, *args: Any) -> tuple[str, str | None]:
    path, scope = original(*args)
    return path, None if scope == NAME else scope
