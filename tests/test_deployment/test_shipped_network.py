"""The shipped network as a file, beside mmseg's own inference of the same image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from exported import CHECKPOINT, CONFIG, SIZE, Shipped, assert_agree, run_without, tensorrt_faults
from mmseg.apis import inference_model
from scripts import ROOT

from ddf_seg.datasets.camvid import CamVidDataset
from ddf_seg.deployment.converting import OPSET
from ddf_seg.deployment.exporting import METADATA, convert_to_openvino
from ddf_seg.deployment.network import ImageSegmentor
from ddf_seg.errors import UsageError
from ddf_seg.runtime import Segmenter

# Of ONNX's own domain
ALLOWED = """
Add ArgMax Cast Clip Concat Conv Div Exp Expand Gather MatMul Mul Pad ReduceMax ReduceMean ReduceSum
Reciprocal Relu Reshape Resize Sigmoid Slice Softmax Split Sqrt Sub Tile Transpose Unsqueeze Where
"""


@pytest.fixture(scope='module')
def expected(shipped: Shipped, image: np.ndarray) -> np.ndarray:
    """Scores (classes, H, W) as mmseg computes them, by our compiled operators."""
    scores: np.ndarray = inference_model(shipped.model, image).seg_logits.data.numpy()
    return scores


def test_onnx_runtime_agrees(shipped: Shipped, image: np.ndarray, expected: np.ndarray) -> None:
    network = Segmenter(shipped.onnx, threads=1)
    assert network.runtime == 'onnxruntime'
    assert_agree(network(image), expected)


def test_openvino_agrees(
    shipped: Shipped, image: np.ndarray, expected: np.ndarray, tmp_path: Path
) -> None:
    file = tmp_path / 'network.xml'
    convert_to_openvino(shipped.onnx, file, shipped.metadata)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['network.bin', 'network.xml']
    network = Segmenter(file, threads=1)
    assert network.runtime == 'openvino'
    assert network.classes == shipped.metadata.classes
    assert_agree(network(image), expected)


def test_nodes_are_standard_ones(shipped: Shipped) -> None:
    model = onnx.load(shipped.onnx)
    assert {node.op_type for node in model.graph.node} <= set(ALLOWED.split())
    assert {node.domain for node in model.graph.node} == {''}
    assert [(x.domain, x.version) for x in model.opset_import] == [('', OPSET)]
    onnx.checker.check_model(model, full_check=True)


def test_tensorrt_reads_all_of_it(shipped: Shipped) -> None:
    assert not tensorrt_faults(onnx.load(shipped.onnx))


def test_what_tensorrt_does_not_read_is_found() -> None:
    nodes = [
        onnx.helper.make_node('Transpose', ['image'], ['turned'], perm=[0, 3, 1, 2]),
        onnx.helper.make_node('Cast', ['turned'], ['x'], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node('Resize', ['x', '', 'scales'], ['large'], mode='cubic'),
        onnx.helper.make_node('Bernoulli', ['large'], ['y']),
    ]
    image = onnx.helper.make_tensor_value_info('image', onnx.TensorProto.UINT8, [1, 4, 4, 3])
    y = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, None)
    scales = onnx.helper.make_tensor('scales', onnx.TensorProto.FLOAT, [4], [1, 1, 2, 2])
    graph = onnx.helper.make_graph(nodes, 'g', [image], [y], [scales])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', OPSET)])
    found = '; '.join(tensorrt_faults(model))
    assert 'turned is UINT8 inside' in found
    assert 'Transpose () of UINT8' in found
    assert "Resize (): mode b'cubic'" in found
    assert 'Bernoulli () is not known' in found


def test_it_says_what_it_is(shipped: Shipped) -> None:
    network = Segmenter(shipped.onnx)
    assert network.classes == list(CamVidDataset.METAINFO['classes'])
    assert network.palette.tolist() == [list(rgb) for rgb in CamVidDataset.METAINFO['palette']]
    assert (network.size_divisor, network.config) == (32, 'ddf_camvid_trainval_finetune')
    (entry,) = onnx.load(shipped.onnx).metadata_props
    assert entry.key == METADATA


def test_no_path_of_the_machine_is_in_the_file(shipped: Shipped) -> None:
    assert str(ROOT).encode() not in shipped.onnx.read_bytes()


def test_segmenter_needs_no_torch(shipped: Shipped, image: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / 'image.npy', image)
    code = (
        'import numpy as np; from ddf_seg.runtime import Segmenter\n'
        f"np.save('out.npy', Segmenter({str(shipped.onnx)!r}, 1)(np.load('image.npy')))"
    )
    run_without(['torch', 'mmengine', 'mmcv', 'mmseg', 'cv2'], code, tmp_path)
    np.testing.assert_array_equal(
        np.load(tmp_path / 'out.npy'), Segmenter(shipped.onnx, threads=1)(image)
    )


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (None, 'expected an array, got NoneType'),
        (np.zeros((*SIZE, 3), np.float32), 'expected uint8 .* got float32'),
        (np.zeros((3, *SIZE), np.uint8), 'expected uint8 of shape'),
        (
            np.zeros((64, 96, 3), np.uint8),
            r'for \(1, 75, 99, 3\), got \(1, 64, 96, 3\).*another --size',
        ),
        (np.zeros((2, *SIZE, 3), np.uint8), r'got \(2, 75, 99, 3\)'),
    ],
)
def test_images_that_do_not_fit_are_refused(shipped: Shipped, wrong: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Segmenter(shipped.onnx, threads=1)(wrong)


def test_classes_are_the_highest_scores(shipped: Shipped, image: np.ndarray) -> None:
    batch = torch.from_numpy(image)[None]
    with torch.no_grad():
        ids = ImageSegmentor(shipped.model)(batch)
    assert (ids.dtype, tuple(ids.shape)) == (torch.uint8, (1, *SIZE))
    mmseg = inference_model(shipped.model, image).pred_sem_seg.data
    torch.testing.assert_close(ids, mmseg.to(torch.uint8))


def test_predict_gives_the_same_by_config_and_checkpoint_and_by_the_exported_file(
    shipped: Shipped, image: np.ndarray, tmp_path: Path
) -> None:
    """The second in a process that has no torch."""
    (tmp_path / 'in').mkdir()
    assert cv2.imwrite(str(tmp_path / 'in' / 'street.png'), image)
    for network, hidden in (
        ([CONFIG, CHECKPOINT], []),
        ([shipped.onnx], ['torch', 'mmengine', 'mmcv', 'mmseg', 'PIL']),
    ):
        words = ['predict', *network, 'in', '--out-dir', f'out{len(network)}']
        code = (
            f'import sys; from ddf_seg.cli.predict import main; sys.argv = {[*map(str, words)]}\n'
            'main()'
        )
        run_without(hidden, code, tmp_path)
    for name in ('ids/street.png', 'overlays/street.png'):
        one, two = (cv2.imread(str(tmp_path / out / name)) for out in ('out1', 'out2'))
        assert one.shape == image.shape
        # But for ties
        assert (one != two).any(-1).sum() <= 2
    one, two = ((tmp_path / out / 'classes.csv').read_text() for out in ('out1', 'out2'))
    assert one == two
