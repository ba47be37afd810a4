"""What the tests of the tools share besides fixtures."""

import importlib.util
import sys
from pathlib import Path
from typing import Any, Protocol

TOOLS = Path(__file__).parents[2] / 'tools'
# Where Python looks when it runs a tool; last, for test.py has the name of a standard package.
sys.path.append(str(TOOLS))


class Run(Protocol):
    """Runs tools/train.py or test.py in this process; returns exit code and stderr's error.

    Attributes:
        out: What the last one wrote to stdout.
        err: What it wrote to stderr.
    """

    out: str
    err: str

    def __call__(self, name: str, *arguments: object) -> tuple[int, str]: ...


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
