"""What the tests of exported networks share besides fixtures."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from scripts import ROOT

from ddf_seg.deployment.network import Metadata

CONFIG = ROOT / 'configs' / 'ddf_camvid_trainval_finetune.py'
CHECKPOINT = ROOT / 'checkpoints' / 'ddf_camvid.pth'
SIZE = (75, 99)  # both are padded
TOLERANCE = 1e-4  # of the scores' range


@dataclass
class Shipped:
    """The shipped network: as a segmentor, exported with scores, and what it says of itself."""

    model: Any
    onnx: Path
    metadata: Metadata


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """Scores (classes, H, W) are within the tolerance, and the classes equal but for ties."""
    allowed = TOLERANCE * (expected.max() - expected.min())
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < allowed
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    differ = found.argmax(0) != expected.argmax(0)
    assert not (differ & (first - second > 2 * allowed)).any()


_HERE = Path(__file__).parent
_TYPES = {'FLOAT': 'FP32', 'FLOAT16': 'FP16', 'BFLOAT16': 'BF16'}
# The place of their axes among the inputs; they have to be constants.
_AXES = {
    'Slice': 3, 'Pad': 3, 'Squeeze': 1, 'Unsqueeze': 1,
    'ReduceSum': 1, 'ReduceMean': 1, 'ReduceMax': 1, 'ReduceMin': 1,
}  # fmt: skip
_RESIZING = {
    'mode': {b'nearest', b'linear'},
    'coordinate_transformation_mode': {
        b'half_pixel', b'pytorch_half_pixel', b'tf_half_pixel_for_nn', b'asymmetric',
        b'align_corners',
    },
    'nearest_mode': {b'floor', b'ceil', b'round_prefer_floor', b'round_prefer_ceil'},
    'keep_aspect_ratio_policy': {b'stretch'},
}  # fmt: skip


def tensorrt_faults(model: onnx.ModelProto) -> list[str]:
    """What TensorRT's parser does not read of a network, by tensorrt_operators.csv."""
    lines = (_HERE / 'tensorrt_operators.csv').read_text().splitlines()
    table = csv.DictReader(line for line in lines if not line.startswith('#'))
    known = {row['operator']: set(row['types'].split()) for row in table}
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    ends = {value.name for value in [*graph.input, *graph.output]}
    types = {
        value.name: onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        for value in [*graph.input, *graph.output, *graph.value_info]
    }
    constants = {value.name for value in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == 'Constant'}
    types |= {x.name: onnx.TensorProto.DataType.Name(x.data_type) for x in graph.initializer}
    faults = [
        f'{name} is UINT8 inside' for name, t in types.items() if t == 'UINT8' and name not in ends
    ]
    for node in graph.node:
        what = f'{node.op_type} ({node.name})'
        if node.domain or node.op_type not in known:
            faults.append(f'{what} is not known')
            continue
        for name in [*node.input[:1], *node.output]:
            if _TYPES.get(types[name], types[name]) not in known[node.op_type]:
                faults.append(f'{what} of {types[name]}')
        place = _AXES.get(node.op_type, len(node.input))
        if node.input[place:] and node.input[place] and node.input[place] not in constants:
            faults.append(f'{what}: axes are computed')
        for attribute in node.attribute if node.op_type == 'Resize' else ():
            allowed = _RESIZING.get(attribute.name)
            if allowed is not None and attribute.s not in allowed:
                faults.append(f'{what}: {attribute.name} {attribute.s!r}')
    return faults


def run_without(packages: list[str], code: str, folder: Path) -> None:
    """Runs code in an interpreter where importing some packages fails."""
    hidden = '; '.join(f'sys.modules[{name!r}] = None' for name in packages)
    done = subprocess.run(
        [sys.executable, '-c', f'import sys; {hidden}\n{code}'],
        cwd=folder,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
