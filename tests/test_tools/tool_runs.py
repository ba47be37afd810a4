"""What the tests of the tools share besides fixtures."""

from collections.abc import Callable
from pathlib import Path

TOOLS = Path(__file__).parents[2] / 'tools'
# name and arguments of a tool, to its exit code and error
Run = Callable[..., tuple[int, str]]
