"""Finding installed packages without what setuptools and Python removed."""

from __future__ import annotations

import pkgutil
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .patching import replace_everywhere


def _find_loader(fullname: str) -> Any:
    spec = find_spec(fullname)
    return None if spec is None else spec.loader


def mend_find_loader() -> bool:
    """Gives mmengine and mmcv the `pkgutil.find_loader` that Python 3.14 removed.

    `mmengine.utils.dl_utils.misc` (mmengine 0.10.7; reverting SyncBN and building an optimizer
    call it) and `mmcv.utils.ext_loader` (mmcv-lite 2.1.0, onedl-mmcv 2.3.6): `AttributeError:
    module 'pkgutil' has no attribute 'find_loader'`. Only these two modules get it; `pkgutil`
    itself stays as Python made it.
    """
    if hasattr(pkgutil, 'find_loader'):
        return False
    modules = [import_module('mmengine.utils.dl_utils.misc')]
    if find_spec('mmcv') is not None:
        modules.append(import_module('mmcv.utils.ext_loader'))
    users = [module for module in modules if hasattr(module, 'pkgutil')]
    for module in users:
        vars(module)['pkgutil'] = SimpleNamespace(find_loader=_find_loader)
    return bool(users)


def is_installed(package: str) -> bool:
    """Whether a distribution, or failing that a regular module, of this name is installed."""
    if _has_distribution(package):
        return True
    spec = find_spec(package)
    return spec is not None and spec.origin is not None


def package2module(package: str) -> str:
    """The import name of a distribution, e.g. 'mmseg' of 'mmsegmentation'."""
    top_level = metadata.distribution(package).read_text('top_level.txt')
    if not top_level:
        raise ValueError(f'can not infer the module name of {package}: it has no top_level.txt')
    return top_level.split('\n')[0]


def get_installed_path(package: str) -> str:
    """The folder of a package, by the name of its distribution or of its module.

    Raises:
        importlib.metadata.PackageNotFoundError: there is neither.
        RuntimeError: it is a namespace package.
    """
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        module = package
        if find_spec(module) is None:
            raise
    else:
        folder = Path(str(distribution.locate_file(package)))
        if folder.is_dir():
            return str(folder)
        module = package2module(package)
    # An editable install lies outside site-packages: only the import system knows where.
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f'{package} is a namespace package, which has no installed path')
    return str(Path(spec.origin).parent)


def mend_package_lookup() -> bool:
    """Looks packages up through `importlib.metadata` instead of `pkg_resources`.

    setuptools 82 removed `pkg_resources`, which `mmengine.utils.package_utils` (0.10.7) imports
    whenever a config says 'mmseg::…': `ModuleNotFoundError: No module named 'pkg_resources'`.
    With earlier ones every such line costs two warnings that it will go.
    """
    utils: Any = import_module('mmengine.utils.package_utils')
    if utils.get_installed_path is get_installed_path:
        return True
    if 'pkg_resources' not in utils.get_installed_path.__code__.co_names:
        return False
    import_module('mmengine.config.config')
    for new in (is_installed, get_installed_path, package2module):
        replace_everywhere(new.__name__, getattr(utils, new.__name__), new)
    return True


def mend_package_names() -> bool:
    """Finds the 'mmseg::…' configs of the maintained forks.

    mmengine (0.10.7 and onedl-mmengine 0.10.12) looks for the module mmseg in the distribution
    mmsegmentation; the fork's is onedl-mmsegmentation: `ModuleNotFoundError: mmsegmentation is not
    installed`.
    """
    names: dict[str, str] = import_module('mmengine.config.utils').MODULE2PACKAGE
    fork = 'onedl-mmsegmentation'
    if names['mmseg'] != fork:
        if _has_distribution(names['mmseg']) or not _has_distribution(fork):
            return False
        names['mmseg'] = fork
    return True


def _has_distribution(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True
