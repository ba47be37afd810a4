"""Writes a segmentor as ONNX, as OpenVINO's IR, as torch's own program, or compiled."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from ..errors import UsageError, in_a_line
from ..files import replacing
from .decompositions import decomposition_table
from .network import ImageSegmentor, Metadata
from .packaging import check_compiler, is_compiled, write_package

# Each format's suffix, and the packages and the extra of ours that it takes.
FORMATS = {
    'onnx': ('.onnx', ('onnx', 'onnxscript'), 'onnx'),
    'openvino': ('.xml', ('onnx', 'onnxscript', 'openvino'), 'onnx,openvino'),
    'pt2': ('.pt2', (), ''),
    'aoti': ('.pt2', (), ''),
}
OPSET = 18
# The key under which a file has it, as JSON; runtime.py reads it.
METADATA = 'ddf_seg'


def check_target(path: Path, kind: str) -> None:
    """Makes sure that a format can be written to a file, before anything takes long.

    Raises:
        UsageError: names what is missing (a package, a compiler), the suffix that is expected, or
            the folder.
    """
    suffix, packages, extra = FORMATS[kind]
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UsageError(
            f'--format {kind}: {" and ".join(missing)} not installed: in a checkout of ddf_seg, '
            f"pip install --no-build-isolation '.[{extra}]'"
        )
    if kind == 'aoti':
        check_compiler()
    if path.suffix != suffix:
        raise UsageError(f'--out {path}: expected a name that ends in {suffix} for --format {kind}')
    if not path.parent.is_dir():
        raise UsageError(f'--out {path}: there is no folder {path.parent}')
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f'--out {path}: {error.strerror} ({path.parent})') from error


def export_program(
    model: Any, size: tuple[int, int], scores: bool = False, compiled: bool = False
) -> ExportedProgram:
    """A segmentor as a graph of torch's core operators; see `ImageSegmentor` for in- and output.

    Args:
        model: the segmentor, on the CPU.
        size: height and width of the images; they come one at a time.
        scores: return class scores, not ids.
        compiled: keep our operators, where they have compiled kernels; for 'aoti'.

    Raises:
        UsageError: the network takes no such size, or cannot be exported.
    """
    network = ImageSegmentor(model.eval(), scores).eval()
    image = torch.zeros((1, *size, 3), dtype=torch.uint8)
    with torch.no_grad():
        try:
            network(image)
        except Exception as error:
            raise UsageError(
                f'--size {size[0]} {size[1]}: the network cannot segment an image of '
                f'{size[0]}×{size[1]} pixels: {in_a_line(error)}'
            ) from error
        try:
            with _quiet():
                program = torch.export.export(network, (image,))
                table = decomposition_table()
                if compiled:
                    table = {op: form for op, form in table.items() if not is_compiled(op)}
                program = program.run_decompositions(table)
        except Exception as error:
            raise UsageError(
                f'the network cannot be exported, torch.export cannot follow it: {in_a_line(error)}'
            ) from error
    if not compiled:
        _check_operators(program)
    return program


def write_program(program: ExportedProgram, kind: str, path: Path, metadata: Metadata) -> None:
    """Writes a program; a file is there whole or not at all.

    Args:
        program: of `export_program`; for 'aoti' with `compiled`.
        kind: of `FORMATS`.
        path: the file, with the format's suffix; OpenVINO's weights get a .bin beside it.
        metadata: goes into the file.

    Raises:
        UsageError: ONNX has no operator for one of the program's, or torch cannot compile it.
        OSError: the file cannot be written.
    """
    unfinished = path.with_name(f'.{path.stem}.tmp{path.suffix}')
    if kind == 'pt2':
        with replacing(path, unfinished):
            torch.export.save(program, unfinished, extra_files={METADATA: metadata.as_json()})
    elif kind == 'aoti':
        with _quiet():
            write_package(program, path, {METADATA: metadata.as_json()})
    elif kind == 'onnx':
        with replacing(path, unfinished):
            _write_onnx(program, unfinished, metadata)
    else:
        with tempfile.TemporaryDirectory() as folder:
            onnx = Path(folder, 'network.onnx')
            _write_onnx(program, onnx, metadata)
            convert_to_openvino(onnx, path, metadata)


def convert_to_openvino(onnx: Path, path: Path, metadata: Metadata) -> None:
    """Writes an ONNX file as OpenVINO's IR, .xml and .bin."""
    import openvino

    model = openvino.convert_model(onnx)
    model.set_rt_info(metadata.as_json(), METADATA)
    unfinished = path.with_name(f'.{path.stem}.tmp.xml')
    weights = path.with_suffix('.bin')
    with replacing(weights, unfinished.with_suffix('.bin')), replacing(path, unfinished):
        # Half precision would round the weights.
        openvino.save_model(model, unfinished, compress_to_fp16=False)


def _write_onnx(program: ExportedProgram, path: Path, metadata: Metadata) -> None:
    try:
        with _quiet():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=['image'],
                output_names=['segmentation'],
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise UsageError(
            f'--format onnx: the network has an operator that ONNX has not: {in_a_line(error)}. '
            '--format pt2 keeps it'
        ) from error
    assert exported is not None
    for node in exported.model.graph.all_nodes():
        # Where in the code it comes from, with the paths of this machine
        node.metadata_props.clear()
    exported.model.metadata_props.clear()
    exported.model.metadata_props[METADATA] = metadata.as_json()
    exported.save(path, external_data=False)


def _check_operators(program: ExportedProgram) -> None:
    """Makes sure that nothing is left that torch's own decompositions do not know."""
    left = sorted(
        {
            str(node.target)
            for node in program.graph.nodes
            if isinstance(node.target, torch._ops.OpOverload)
            and node.target.namespace not in ('aten', 'prims', '_operator')
        }
    )
    if left:
        raise UsageError(
            f'the network cannot be exported: {", ".join(left)} has no form that other runtimes '
            'know; replace the layer that calls it'
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out what torch's exporter says about packages and functions of its own."""
    log = logging.getLogger('torch.onnx')
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        log.setLevel(level)
