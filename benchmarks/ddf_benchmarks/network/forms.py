"""A network in each of its forms, as a function from an image to class ids.

A form imports what it needs and no more, since the memory of its process is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddf_seg.errors import UsageError

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Cell:
    """A network in a form, for images of a size.

    Attributes:
        row: of `ROWS`.
        form: of `FORMS`.
        size: height and width.
        threads: to compute with.
        folder: has the exported files.
    """

    row: str
    form: str
    size: tuple[int, int]
    threads: int
    folder: Path

    def __str__(self) -> str:
        return f'{self.row}, {self.form}, {self.size[0]}×{self.size[1]}'

    def file(self, suffix: str) -> Path:
        """Where an exported form of it is."""
        return self.folder / f'{self.row}-{self.size[0]}x{self.size[1]}{suffix}'


def needs(form: str) -> str:
    """The suffix of the exported file that a form runs, or ''."""
    if form == 'openvino-int8':
        return '-int8.xml'
    suffixes = {'aoti': '.pt2', 'onnxruntime': '.onnx', 'openvino': '.onnx'}
    return suffixes.get(form.partition('-')[0], '')


def load(cell: Cell) -> Run:
    """The function of a cell.

    Raises:
        UsageError: this machine cannot run it.
    """
    if cell.form == 'onnxruntime':
        from ddf_seg.runtime import Segmenter

        return Segmenter(cell.file('.onnx'), cell.threads)
    if cell.form.startswith('openvino'):
        return _openvino(cell)
    return _torch(cell)


def _openvino(cell: Cell) -> Run:
    from ddf_seg.runtime import import_openvino

    openvino = import_openvino()
    core = openvino.Core()
    bf16 = cell.form.endswith('bf16')
    if bf16 and 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        raise UsageError('this processor has no bfloat16')
    settings = {
        'INFERENCE_PRECISION_HINT': 'bf16' if bf16 else 'f32',
        'INFERENCE_NUM_THREADS': cell.threads,
    }
    compiled = core.compile_model(cell.file(needs(cell.form)), 'CPU', settings)
    request = compiled.create_infer_request()
    return lambda image: np.array(next(iter(request.infer([image]).values())))


def _torch(cell: Cell) -> Run:
    import torch

    torch.set_num_threads(cell.threads)
    network: Any
    if cell.form == 'aoti':
        import ddf_seg.ops

        network = torch._inductor.aoti_load_package(str(cell.file('.pt2')))
    else:
        import ddf_seg.openmmlab  # noqa: F401 isort: skip
        from ddf_seg.deployment.network import ImageSegmentor
        from ddf_seg.engine.predicting.optimizing import compile_network, fold_normalization

        from .networks import build_network

        model = build_network(cell.row)
        if cell.form != 'eager':
            model = fold_normalization(model)
        if cell.form == 'compiled':
            compile_network(model)
        network = ImageSegmentor(model)

    @torch.inference_mode()
    def run(image: np.ndarray) -> np.ndarray:
        ids: np.ndarray = network(torch.from_numpy(image)).numpy()
        return ids

    return run
