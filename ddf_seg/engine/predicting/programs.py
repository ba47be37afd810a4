"""Runs what the export wrote as torch's own program: with torch, without OpenMMLab."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch

from ...errors import UsageError
from ...runtime import KEY, Loaded, Segmenter


class ProgramSegmenter(Segmenter):
    """A `Segmenter` for the .pt2 of `--format pt2`."""

    def _loader(self, file: Path) -> tuple[str, Callable[[Path, int], Loaded]]:
        return 'torch', _load


def _load(file: Path, threads: int) -> Loaded:
    if is_zipfile(file) and any('/aotinductor/' in name for name in ZipFile(file).namelist()):
        raise UsageError(
            f'{file}: a package of --format aoti, which programs of your own load; expected one of '
            '--format pt2'
        )
    about = {KEY: ''}
    with _quiet(), _weights_only():
        program = torch.export.load(file, extra_files=about)
    module = program.module()
    (name,) = program.graph_signature.user_inputs
    graph = program.graph
    image = next(node.meta['val'] for node in graph.nodes if node.name == name)
    output = graph.output_node().args[0][-1].meta['val']
    shape = [n if isinstance(n, int) else None for n in image.shape]
    if threads:
        torch.set_num_threads(threads)

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found: np.ndarray = module(torch.from_numpy(batch)).numpy()
        return found

    return run, shape, output.dim(), about[KEY] or None


@contextmanager
def _quiet() -> Iterator[None]:
    """Of a damaged file, torch logs a traceback before it raises."""
    log = logging.getLogger('torch.export')
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _weights_only() -> Iterator[None]:
    """Keeps torch from running what pickled objects of a file say, as torch.export.load does."""
    name = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
    before = os.environ.get(name)
    os.environ[name] = '1'
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before
