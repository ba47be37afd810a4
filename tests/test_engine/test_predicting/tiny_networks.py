"""Small networks in ONNX, in the form that tools/export.py writes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
PALETTE = np.random.default_rng(1).integers(0, 256, (CLASSES, 3), dtype=np.uint8)
WEIGHT = np.random.default_rng(0).standard_normal((CLASSES, 3, 3, 3)).astype(np.float32)
# BGR differ in mean, so that all classes occur.
OFFSET = np.array([120, 128, 136], np.float32)


def write_network(
    path: Path,
    size: tuple[int, int] | None = None,
    scores: bool = False,
    batch: int | None = None,
    least_size: int = 1,
    classes: int = CLASSES,
) -> Path:
    """A 3×3 convolution, without padding's zeros at the borders to speak of.

    Args:
        path: .onnx
        size: height and width; None: free.
        scores: whether scores come out, not ids.
        batch: how many images; None: free.
        least_size: the fewest pixels of a side, as the file says.
        classes: how many of the scores come out.
    """
    shape = [batch or 'N', *(size or ('H', 'W'))]
    nodes = [
        helper.make_node('Cast', ['image'], ['float'], to=TensorProto.FLOAT),
        helper.make_node('Sub', ['float', 'offset'], ['centred']),
        helper.make_node('Transpose', ['centred'], ['x'], perm=[0, 3, 1, 2]),
        helper.make_node('Conv', ['x', 'weight'], ['scores'], pads=[1] * 4),
        helper.make_node('ArgMax', ['scores'], ['index'], axis=1, keepdims=0),
        helper.make_node('Cast', ['index'], ['ids'], to=TensorProto.UINT8),
    ]
    name = 'scores' if scores else 'ids'
    out = [shape[0], classes, *shape[1:]] if scores else shape
    kind = TensorProto.FLOAT if scores else TensorProto.UINT8
    graph = helper.make_graph(
        nodes[: 4 if scores else 6],
        'tiny',
        [helper.make_tensor_value_info('image', TensorProto.UINT8, [*shape, 3])],
        [helper.make_tensor_value_info(name, kind, out)],
        [
            numpy_helper.from_array(WEIGHT[:classes], 'weight'),
            numpy_helper.from_array(OFFSET, 'offset'),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    about = dict(
        classes=[f'class {index}' for index in range(CLASSES)],
        palette=PALETTE.tolist(),
        size_divisor=1,
        least_size=least_size,
        config='tiny',
    )
    helper.set_model_props(model, {'ddf_seg': json.dumps(about)})
    onnx.save(model, path)
    return path


def scores_of(image: np.ndarray) -> np.ndarray:
    """What the network computes, (classes, H, W), by OpenCV."""
    centred = image.astype(np.float32) - OFFSET
    return np.stack(
        [
            sum(
                cv2.filter2D(centred[..., c], -1, kernel[c], borderType=cv2.BORDER_CONSTANT)
                for c in range(3)
            )
            for kernel in WEIGHT
        ]
    )
