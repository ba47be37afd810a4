"""What the tests of the tools share besides fixtures."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOOLS = Path(__file__).parents[2] / 'tools'
# name and arguments of a tool, to its exit code and error
Run = Callable[..., tuple[int, str]]


def load_tool(name: str) -> Any:
    """A tool as a module, so that its functions can be called in this process."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f'{name}.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
