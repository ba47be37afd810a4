"""Python code in a process of its own: in a fresh one, or in one that has loaded torch already.

Loading torch and what OpenMMLab's packages take along costs seconds of processor time, again in
every process. A server loads them once; its forks have them, and nothing of OpenMMLab or ours.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
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
LOADED = [
    'torch', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.distributed.optim', 'scipy.ndimage',
    'scipy.optimize', 'ftfy', 'cv2', 'PIL.Image', 'rich.progress', 'yapf', 'pytest',
]  # fmt: skip
_FORKS = multiprocessing.get_context('forkserver')
_FORKS.set_forkserver_preload(LOADED)
TIMEOUT = 300


def free_port() -> str:
    """Of this machine, for MASTER_PORT."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return str(free.getsockname()[1])


def run(code: str, path: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python code in a fresh process, with ``path`` to import from."""
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', BLOCK + textwrap.dedent(code)],
        env={**os.environ, 'PYTHONPATH': str(path), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def _execute(code: str, path: str, environment: dict[str, str], files: list[str]) -> None:
    for number, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, path)
    warnings.simplefilter('ignore')
    exec(compile(code, '<code>', 'exec'), {'__name__': '__main__'})


class Started:
    """Python code that runs in a process with ``LOADED`` modules, and ends with a ``with``.

    Args:
        code: indented as you like.
        path: a folder to import from.
        environment: beside this process's.
    """

    def __init__(self, code: str, path: Path = ROOT, **environment: str) -> None:
        self._files = [tempfile.NamedTemporaryFile('w+') for _ in range(2)]  # noqa: SIM115
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', **environment}
        names = [file.name for file in self._files]
        arguments = (BLOCK + textwrap.dedent(code), str(path), environment, names)
        self.process = _FORKS.Process(target=_execute, args=arguments)
        self.process.start()

    def said(self) -> tuple[str, str]:
        """What is in its stdout and stderr by now."""
        out, err = (Path(file.name).read_text() for file in self._files)
        return out, err

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Until stdout holds it."""
        end = time.monotonic() + TIMEOUT
        while not (found := re.search(pattern, self.said()[0])):
            assert self.process.is_alive(), self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)
        return found

    def wait(self) -> subprocess.CompletedProcess[str]:
        """What became of it."""
        self.process.join(TIMEOUT)
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired('Python', TIMEOUT, *self.said())
        return subprocess.CompletedProcess([], self.process.exitcode, *self.said())

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.join()


def run_loaded(
    code: str, path: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that has loaded torch."""
    with Started(code, path, **environment) as process:
        return process.wait()


def run_ok(code: str, path: Path = ROOT, **environment: str) -> Any:
    """As ``run_loaded`` code that must succeed, and parse the last line that it prints as JSON."""
    result = run_loaded(code, path, **environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])
