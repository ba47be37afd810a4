"""The scripts of tools/, benchmarks/ and dev/, for their tests."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def load_script(path: str) -> Any:
    """A script as a module, so that its functions can be called in this process.

    Args:
        path: Relative to the repository: 'tools/train.py'.
    """
    name = path.removesuffix('.py').replace('/', '.')
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
