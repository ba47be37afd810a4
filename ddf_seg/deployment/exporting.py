"""Writes a segmentor as ONNX, as OpenVINO's IR, as torch's own program, or compiled."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ..errors import UsageError, in_a_line
from ..files import replacing
from ..runtime import import_openvino
from .decompositions import decomposition_table
from .network import USUAL, ImageSegmentor, Interface, Metadata
from .packaging import check_compiler, is_compiled, write_package
from .quantizing import quantize

# Each format's suffix, and the packages and the extra of ours that it takes.
FORMATS = {
    'onnx': ('.onnx', ('onnx', 'onnxscript'), 'onnx'),
    'openvino': ('.xml', ('onnx', 'onnxscript', 'openvino'), 'onnx,openvino'),
    'pt2': ('.pt2', (), ''),
    'aoti': ('.pt2', (), ''),
}
PRECISIONS = ('fp32', 'fp16', 'int8')
OPSET = 18
# The key under which a file has it, as JSON; runtime.py reads it.
METADATA = 'ddf_seg'
# Of images of free size, what torch.export is shown: both are odd, and no level is square or a
# single row.
_EXAMPLE = (135, 203)
# Below it OpenVINO computes wrong scores, where the coarsest level is a single pixel.
LEAST_FREE_SIZE = 64


def check_target(path: Path, kind: str, precision: str = 'fp32') -> None:
    """Makes sure that a format can be written to a file, before anything takes long.

    Raises:
        UsageError: names what is missing (a package, a compiler), the suffix that is expected, or
            the folder.
    """
    suffix, packages, extra = FORMATS[kind]
    if precision != 'fp32' and kind != 'openvino':
        raise UsageError(
            f'--precision {precision}: expected with --format openvino alone, got {kind}; TensorRT '
            'takes an ONNX file in float32 and makes it half precision itself (--fp16)'
        )
    if precision == 'int8':
        packages, extra = (*packages, 'nncf'), f'{extra},int8'
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
    model: Any,
    size: tuple[int, int] | None,
    interface: Interface = USUAL,
    compiled: bool = False,
    batch: int | None = 1,
) -> ExportedProgram:
    """A segmentor as a graph of torch's core operators; see `ImageSegmentor` for in- and output.

    Args:
        model: the segmentor, on the CPU.
        size: height and width of the images; None: any.
        interface: what goes in and comes out.
        compiled: keep our operators, where they have compiled kernels; for 'aoti'.
        batch: number of images; None: any.

    Raises:
        UsageError: the network takes no such size, or cannot be exported.
    """
    network = ImageSegmentor(model.eval(), interface).eval()
    height, width = size or _EXAMPLE
    image = torch.zeros(interface.image_shape(batch or 2, (height, width)), dtype=torch.uint8)
    free = [] if size else list(interface.size_axes)
    free += [0] if batch is None else []
    with torch.no_grad():
        try:
            network(image)
        except Exception as error:
            argument = f'--size {height} {width}' if size else '--dynamic'
            raise UsageError(
                f'{argument}: the network cannot segment an image of '
                f'{height}×{width} pixels: {in_a_line(error)}'
            ) from error
        try:
            table = decomposition_table()
            if compiled:
                table = {op: form for op, form in table.items() if not is_compiled(op)}
            with _quiet(), _quick():
                program = torch.export.export(
                    network,
                    (image,),
                    dynamic_shapes=(dict.fromkeys(free, Dim.DYNAMIC),) if free else None,
                    prefer_deferred_runtime_asserts_over_guards=True,
                )
                _drop_assertions(program)
                program = program.run_decompositions(table)
                _drop_assertions(program)
        except Exception as error:
            instead = '; --size and --batch fix them, and more networks can be exported so'
            raise UsageError(
                'the network cannot be exported, torch.export cannot follow it'
                f'{" with free sizes" if free else ""}: {in_a_line(error)}{instead if free else ""}'
            ) from error
    if not compiled:
        _check_operators(program)
    return program


def write_program(
    program: ExportedProgram,
    kind: str,
    path: Path,
    metadata: Metadata,
    precision: str = 'fp32',
    images: Sequence[np.ndarray] = (),
) -> None:
    """Writes a program; a file is there whole or not at all.

    Args:
        program: of `export_program`; for 'aoti' with `compiled`.
        kind: of `FORMATS`.
        path: the file, with the format's suffix; OpenVINO's weights get a .bin beside it.
        metadata: goes into the file.
        precision: of `PRECISIONS`, for 'openvino'.
        images: what calibrates int8.

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
            convert_to_openvino(onnx, path, metadata, precision, images)


def convert_to_openvino(
    onnx: Path,
    path: Path,
    metadata: Metadata,
    precision: str = 'fp32',
    images: Sequence[np.ndarray] = (),
) -> None:
    """Writes an ONNX file as OpenVINO's IR, .xml and .bin; arguments as for `write_program`."""
    openvino = import_openvino()
    model = openvino.convert_model(onnx)
    if precision == 'int8':
        model = quantize(model, images)
    model.set_rt_info(metadata.as_json(), METADATA)
    unfinished = path.with_name(f'.{path.stem}.tmp.xml')
    weights = path.with_suffix('.bin')
    with replacing(weights, unfinished.with_suffix('.bin')), replacing(path, unfinished):
        openvino.save_model(model, unfinished, compress_to_fp16=precision == 'fp16')


def _write_onnx(program: ExportedProgram, path: Path, metadata: Metadata) -> None:
    try:
        with _quiet(), _quick():
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
    _name_free_axes(exported.model.graph, metadata.layout)
    for node in exported.model.graph.all_nodes():
        # Where in the code it comes from, with the paths of this machine
        node.metadata_props.clear()
    exported.model.metadata_props.clear()
    exported.model.metadata_props[METADATA] = metadata.as_json()
    exported.save(path, external_data=False)


def _drop_assertions(program: ExportedProgram) -> None:
    """What torch takes for granted of free sizes: more than the network needs, as 1 ≠ H."""
    aten = torch.ops.aten
    for node in list(program.graph.nodes):
        if node.target in (aten._assert_scalar.default, aten._assert_tensor_metadata.default):
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()


def _quick() -> contextlib.AbstractContextManager[Any]:
    """torch's exporter without a cache that costs more than it saves, where sizes are symbols."""
    return torch._dynamo.config.patch(fake_tensor_cache_enabled=False)


def _name_free_axes(graph: Any, layout: str) -> None:
    """In place of names such as s53."""
    (image,), (result,) = graph.inputs, graph.outputs
    of_axis = {'n': 'batch', 'h': 'height', 'w': 'width', 'c': 'colours'}
    names = {n: of_axis[axis] for n, axis in zip(image.shape, layout, strict=True)}
    for value in (image, result):
        for axis, n in enumerate(value.shape):
            if n in names and not isinstance(n, int):
                value.shape[axis] = names[n]


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
