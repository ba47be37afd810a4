"""Runs an exported network: numpy and one runtime, without torch and OpenMMLab."""

from __future__ import annotations

import json
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UsageError, in_a_line

_Run = Callable[[np.ndarray], np.ndarray]
# What runs it, the input's shape, the output's number of axes, and what the file says of itself
Loaded = tuple[_Run, list[int | None], int, str | None]
KEY = 'ddf_seg'  # as deployment/exporting.py writes it
# OpenVINO's files of free sizes: so many images of a size come before the model is compiled for it,
# which takes as long as they gain; and for so many sizes at a time.
_BEFORE_OWN, _MOST_OWN = 32, 4


class Segmenter:
    """A network that tools/export.py wrote.

    Args:
        file: .onnx (runs in ONNX Runtime, or where that is missing in OpenVINO) or OpenVINO's .xml.
        threads: how many to compute with; 0: as many as the runtime chooses.

    Attributes:
        classes: names, in the order of the ids.
        palette: their colours, (classes, 3) uint8, RGB.
        shape: of the images it takes, (N, H, W, 3); None: any.
        gives_scores: whether scores or probabilities come out, not class ids.
        size_divisor: what height and width are padded to multiples of, within the graph.
        least_size: the fewest pixels of a side.
        config: name of the config that the network was trained with.
        output: what comes out: 'ids', 'scores' or 'probabilities'.
        runtime: 'onnxruntime' or 'openvino'.

    Raises:
        UsageError: the file is missing, damaged or of another program, or no runtime is installed.
    """

    def __init__(self, file: str | Path, threads: int = 0) -> None:
        file = Path(file)
        if not file.is_file():
            raise UsageError(f'{file}: no such file')
        self.runtime, load = self._loader(file)
        try:
            self._run, shape, rank, about = load(file, threads)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f'{file}: {self.runtime} cannot load it: {in_a_line(error)}'
            ) from error
        if about is None:
            raise UsageError(f'{file}: expected a network that tools/export.py wrote')
        try:
            known = json.loads(about)
            self.classes: list[str] = known['classes']
            self.palette = np.array(known['palette'], np.uint8).reshape(-1, 3)
            self.size_divisor: int = known['size_divisor']
            self.config: str = known['config']
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f'{file}: what it says of itself is damaged, or of another version of ddf_seg '
                f'({type(error).__name__}: {in_a_line(error)}); export the network again'
            ) from error
        self.output: str = known.get('output', 'ids')
        self._layout = known.get('layout', 'nhwc')
        axes = [self._layout.index(axis) for axis in 'nhwc']
        self.shape: tuple[int | None, ...] = tuple(shape[axis] for axis in axes)
        self.gives_scores = rank == 4
        self._colours = known.get('colours', 'bgr')
        self.least_size: int = known.get('least_size', 1)

    def _loader(self, file: Path) -> tuple[str, Callable[[Path, int], Loaded]]:
        """The runtime for a file, and what loads it there."""
        runtime = _choose_runtime(file)
        return runtime, _load_onnxruntime if runtime == 'onnxruntime' else _load_openvino

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Segments an image, or several of one size.

        Args:
            image: (H, W, 3) or (N, H, W, 3), uint8, in OpenCV's order BGR.

        Returns:
            Class ids, (H, W) or (N, H, W); of a network exported with scores or probabilities
            these, (classes, H, W) or (N, classes, H, W).

        Raises:
            UsageError: the array is no such image, or of another size than the network was exported
                for.
        """
        if not isinstance(image, np.ndarray):
            raise UsageError(
                f'image: expected an array, got {type(image).__name__} (cv2.imread returns None '
                'for a file that it cannot read)'
            )
        if image.dtype != np.uint8 or image.ndim not in (3, 4) or image.shape[-1] != 3:
            raise UsageError(
                'image: expected uint8 of shape (H, W, 3) or (N, H, W, 3), got '
                f'{image.dtype} of {image.shape}'
            )
        batch = image if image.ndim == 4 else image[None]
        pairs = zip(self.shape, batch.shape, strict=True)
        if any(want is not None and want != got for want, got in pairs):
            want = ', '.join('any' if n is None else str(n) for n in self.shape)
            raise UsageError(
                f'image: the network was exported for ({want}), got {batch.shape}; resize the '
                'image, or export with another --size or --batch, or with --dynamic'
            )
        if min(batch.shape[1:3]) < self.least_size:
            raise UsageError(
                f'image: expected at least {self.least_size} pixels a side, got {batch.shape[1:3]}'
            )
        if self._colours == 'rgb':
            batch = batch[..., ::-1]
        if self._layout == 'nchw':
            batch = batch.transpose(0, 3, 1, 2)
        result = self._run(np.ascontiguousarray(batch))
        return result if image.ndim == 4 else result[0]


def _choose_runtime(file: Path) -> str:
    kinds = {'.onnx': ('onnxruntime', 'openvino'), '.xml': ('openvino',)}
    if file.suffix not in kinds:
        raise UsageError(f'{file}: expected a file that ends in {" or ".join(kinds)}')
    for name in kinds[file.suffix]:
        if find_spec(name) is not None:
            return name
    names = ' or '.join(kinds[file.suffix])
    extra = file.suffix.replace('.xml', 'openvino').lstrip('.')
    raise UsageError(
        f'{file}: {names} is not installed: pip install {kinds[file.suffix][0]} (the extra '
        f'{extra!r} of ddf_seg has it)'
    )


def _load_onnxruntime(file: Path, threads: int) -> Loaded:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=['CPUExecutionProvider'])
    # The only one, unless the file is another program's
    image = session.get_inputs()[0]
    shape = [n if isinstance(n, int) else None for n in image.shape]

    def run(batch: np.ndarray) -> np.ndarray:
        result: np.ndarray = session.run(None, {image.name: batch})[0]
        return result

    rank = len(session.get_outputs()[0].shape)
    return run, shape, rank, session.get_modelmeta().custom_metadata_map.get(KEY)


class _OfSizes:
    """A model of free sizes: compiled for all of them, and for a size that keeps coming, again.

    OpenVINO fuses less where sizes are free. Of more sizes than it keeps, it forgets the one that
    was not used for longest.

    Args:
        compiled: runs the model for batches of a shape; None: of any.
    """

    def __init__(self, compiled: Callable[[tuple[int, ...] | None], _Run]) -> None:
        self._compiled = compiled
        self._any = compiled(None)
        self._own: OrderedDict[tuple[int, ...], _Run] = OrderedDict()
        self._seen: Counter[tuple[int, ...]] = Counter()

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        size = batch.shape
        if size not in self._own:
            self._seen[size] += 1
            if self._seen[size] <= _BEFORE_OWN:
                return self._any(batch)
            self._own[size] = self._compiled(size)
            if len(self._own) > _MOST_OWN:
                forgotten, _ = self._own.popitem(last=False)
                del self._seen[forgotten]
        self._own.move_to_end(size)
        return self._own[size](batch)


def import_openvino() -> Any:
    """OpenVINO as a module; neither it nor NNCF reports its use to its makers.

    Without being asked, its import alone starts a process that calls Google Analytics, and which
    complains on the terminal when the program ends first. Who has loaded openvino_telemetry keeps
    it.
    """
    sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _load_openvino(file: Path, threads: int) -> Loaded:
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(file)
    # As in ONNX Runtime; bfloat16, where a processor has it, moves a few pixels.
    settings: dict[str, Any] = {'INFERENCE_PRECISION_HINT': 'f32'}
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    shape = [n.get_length() if n.is_static else None for n in model.inputs[0].partial_shape]

    def compiled(size: tuple[int, ...] | None) -> _Run:
        of_size = model
        if size is not None:
            of_size = model.clone()
            of_size.reshape(list(size))
        request = core.compile_model(of_size, 'CPU', settings).create_infer_request()
        return lambda batch: np.array(next(iter(request.infer([batch]).values())))

    run = _OfSizes(compiled) if None in shape else compiled(None)
    rank = model.outputs[0].partial_shape.rank.get_length()
    for path in ([KEY], ['framework', KEY]):  # our own, and what comes from an ONNX file
        if model.has_rt_info(path):
            return run, shape, rank, model.get_rt_info(path).astype(str)
    return run, shape, rank, None
