"""Writes a segmentor as ONNX, as OpenVINO's IR, as torch's own program, or compiled."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import Dim, ExportedProgram

from ..engine.predicting.optimizing import fold_normalization
from ..errors import UsageError, in_a_line
from ..files import replacing, unfinished_beside
from ..layers.guided_upsampling import composed
from ..runtime import import_openvino
from .converting import cannot_follow, decomposed, drop_assertions, quick, quiet, to_onnx
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
    batch: int | None = 1,
) -> ExportedProgram:
    """A segmentor as torch's graph; see `ImageSegmentor` for in- and output.

    Our operators are in it as they are: `write_program` replaces them as each format needs it.
    BatchNorm is folded into the convolutions, where that changes nothing.

    Args:
        model: the segmentor, on the CPU.
        size: height and width of the images; None: any.
        interface: what goes in and comes out.
        batch: number of images; None: any.

    Raises:
        UsageError: the network takes no such size, or cannot be exported.
    """
    with warnings.catch_warnings():
        # Says that it runs slower where nothing was folded; ONNX's optimizer folds it in any case.
        warnings.simplefilter('ignore')
        model = fold_normalization(model.eval())
    network = ImageSegmentor(model, interface).eval()
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
            with quiet(), quick():
                program = torch.export.export(
                    network,
                    (image,),
                    dynamic_shapes=(dict.fromkeys(free, Dim.DYNAMIC),) if free else None,
                    prefer_deferred_runtime_asserts_over_guards=True,
                )
        except Exception as error:
            raise cannot_follow(error, bool(free)) from error
    drop_assertions(program)
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
        program: of `export_program`.
        kind: of `FORMATS`.
        path: the file, with the format's suffix; OpenVINO's weights get a .bin beside it.
        metadata: goes into the file.
        precision: of `PRECISIONS`, for 'openvino'.
        images: what calibrates int8.

    Raises:
        UsageError: one of the program's operators has no form in other runtimes, or in ONNX, or
            torch cannot compile it.
        OSError: the file cannot be written.
    """
    unfinished = unfinished_beside(path, path.suffix)
    if kind == 'pt2':
        program = decomposed(program, decomposition_table())
        with replacing(path, unfinished):
            torch.export.save(program, unfinished, extra_files={METADATA: metadata.as_json()})
    elif kind == 'aoti':
        table = {op: form for op, form in decomposition_table().items() if not is_compiled(op)}
        table[torch.ops.ddf_seg.guided_upsample.default] = composed
        program = decomposed(program, table, all_of_them=False)
        with quiet():
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
    # openvino.convert_model writes sums of two tables of interpolation whole: 266 MB in place of 21
    # for DDFHead at 1024×2048.
    model = openvino.Core().read_model(onnx)
    if precision == 'int8':
        model = quantize(model, images)
    model.set_rt_info(metadata.as_json(), METADATA)
    unfinished = unfinished_beside(path, '.xml')
    weights = unfinished.with_suffix('.bin')
    with replacing(path, unfinished), replacing(path.with_suffix('.bin'), weights):
        openvino.save_model(model, unfinished, compress_to_fp16=precision == 'fp16')
        # What is killed between the two leaves no graph with another's weights.
        path.unlink(missing_ok=True)


def _write_onnx(program: ExportedProgram, path: Path, metadata: Metadata) -> None:
    exported = to_onnx(program, input_names=['image'], output_names=['segmentation'])
    _name_free_axes(exported.model.graph, metadata.layout)
    for node in exported.model.graph.all_nodes():
        # Where in the code it comes from, with the paths of this machine
        node.metadata_props.clear()
    exported.model.metadata_props.clear()
    exported.model.metadata_props[METADATA] = metadata.as_json()
    exported.save(path, external_data=False)


def _name_free_axes(graph: Any, layout: str) -> None:
    """In place of names such as s53."""
    (image,), (result,) = graph.inputs, graph.outputs
    of_axis = {'n': 'batch', 'h': 'height', 'w': 'width', 'c': 'colours'}
    names = {n: of_axis[axis] for n, axis in zip(image.shape, layout, strict=True)}
    for value in (image, result):
        for axis, n in enumerate(value.shape):
            if n in names and not isinstance(n, int):
                value.shape[axis] = names[n]
