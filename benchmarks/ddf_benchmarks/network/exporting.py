"""Exports a network into the forms that other runtimes read."""

from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import torch

from ddf_seg.deployment.exporting import (
    check_target,
    convert_to_openvino,
    export_program,
    write_program,
)
from ddf_seg.deployment.network import ImageSegmentor, Metadata
from ddf_seg.errors import UsageError

from .forms import Cell
from .networks import build_network, image

# Of other seeds than the image that is measured
_CALIBRATION = range(1, 9)


def export(cell: Cell, suffixes: list[str]) -> dict[str, str]:
    """Writes the files of a row, and .npy with the class ids that PyTorch gives.

    Args:
        cell: says row, size and folder.
        suffixes: of `forms.needs`; .npy is always written.

    Returns:
        Why a form could not be written, for those that could not.
    """
    network = build_network(cell.row)
    with torch.inference_mode():
        ids = ImageSegmentor(network)(torch.from_numpy(image(cell.size))).numpy()
    if np.unique(ids).size < 2:
        raise RuntimeError(f'{cell}: all pixels get one class, so nothing could be compared')
    np.save(cell.file('.npy'), ids)
    failed: dict[str, str] = {}
    # int8 is made of the ONNX file.
    for suffix in sorted(suffixes, key=('.onnx', '-int8.xml', '.pt2').index):
        try:
            _write(network, cell, suffix)
        except UsageError as error:
            failed[suffix] = str(error)
    return failed


def _write(network: Any, cell: Cell, suffix: str) -> None:
    file, about = cell.file(suffix), Metadata([], [], 32, cell.row)
    if suffix == '-int8.xml':
        check_target(file, 'openvino', 'int8')
        if not cell.file('.onnx').exists():
            _write(network, cell, '.onnx')
        shown = [image(cell.size, seed) for seed in _CALIBRATION]
        convert_to_openvino(cell.file('.onnx'), file, about, 'int8', shown)
        return
    kind = {'.onnx': 'onnx', '.pt2': 'aoti'}[suffix]
    check_target(file, kind)
    write_program(export_program(network, cell.size), kind, file, about)
