"""Python code in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from scripts import ROOT

# Makes `import name` fail as if `name` were not installed (or broken).
BLOCK = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    def __init__(self, name, error): self.name, self.error = name, error
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == self.name: raise self.error
def block(name, error=None):
    error = error or ModuleNotFoundError(f'No module named {name!r}', name=name)
    sys.meta_path.insert(0, Block(name, error))
"""


def run(code: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with ``path`` to import from."""
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', BLOCK + textwrap.dedent(code)],
        env={**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def run_ok(code: str, path: Path = ROOT) -> Any:
    """Run Python code that must succeed, and parse the last line that it prints as JSON."""
    result = run(code, path)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
