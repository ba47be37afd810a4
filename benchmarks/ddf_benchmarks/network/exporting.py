"""Exports a network into the forms that other runtimes read."""

from __future__ import annotations

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import torch

from ddf_seg.deployment.exporting import check_target, export_program, write_program
from ddf_seg.deployment.network import ImageSegmentor, Metadata
from ddf_seg.errors import UsageError

from .forms import Cell
from .networks import build_network, image

# What the suffixes of `forms.needs` are to `write_program`: format and precision
_KINDS = {
    '.onnx': ('onnx', 'fp32'), '.pt2': ('aoti', 'fp32'), '-int8.xml': ('openvino', 'int8'),
}  # fmt: skip


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
    for suffix in suffixes:
        kind, precision = _KINDS[suffix]
        try:
            check_target(cell.file(suffix), kind, precision)
            program = export_program(network, cell.size, compiled=kind == 'aoti')
            # The image that is measured calibrates int8, too.
            write_program(
                program, kind, cell.file(suffix), Metadata([], [], 32, cell.row), precision,
                [image(cell.size)],
            )  # fmt: skip
        except UsageError as error:
            failed[suffix] = str(error)
    return failed
