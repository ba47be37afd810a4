"""What stands before the network in the graph, and what cannot be exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnx
import pytest
import torch
from mmseg.structures import SegDataSample
from torch import Tensor
from toy import ABOUT, NORMALISED, Toy

from ddf_seg import runtime
from ddf_seg.deployment import exporting
from ddf_seg.deployment.exporting import check_target, export_program, write_program
from ddf_seg.deployment.network import ImageSegmentor, Interface
from ddf_seg.errors import UsageError
from ddf_seg.runtime import Segmenter


class NeedsEight(Toy):
    def encode_decode(self, x: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        if x.shape[2] % 8:
            raise ValueError(f'a height that 8 divides, got {x.shape[2]}')
        return x


@torch.library.custom_op('deployment_test::odd', mutates_args=())
def odd(x: Tensor) -> Tensor:
    return x.clone()


@odd.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Odd(Toy):
    def encode_decode(self, x: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        return odd(x)


LIBRARY = torch.library.Library('deployment_test', 'FRAGMENT')
LIBRARY.define('half(Tensor x) -> Tensor')
LIBRARY.impl('half', lambda x: x / 2, 'CompositeImplicitAutograd')


class Composite(Toy):
    """An operator of others that is made of torch's."""

    def encode_decode(self, x: Tensor, metas: list[dict[str, Any]]) -> Tensor:
        half: Tensor = torch.ops.deployment_test.half(x)
        return half


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(bgr_to_rgb=True, **NORMALISED),
        dict(pad_val=7, test_cfg=dict(size_divisor=32), **NORMALISED),
        dict(pad_val=7, test_cfg=dict(size=(64, 80)), bgr_to_rgb=True),
    ],
)
def test_images_are_prepared_as_mmseg_does(settings: dict[str, Any]) -> None:
    model = Toy(**settings)
    image = torch.randint(0, 256, (2, 33, 40, 3), dtype=torch.uint8)
    data = dict(inputs=list(image.permute(0, 3, 1, 2)), data_samples=[SegDataSample()] * 2)
    expected = model.data_preprocessor(data)['inputs']
    network = ImageSegmentor(model, Interface(output='scores'))
    torch.testing.assert_close(network._prepared(image), expected, rtol=0, atol=0)
    torch.testing.assert_close(network(image), expected[:, :, :33, :40], rtol=0, atol=0)


@pytest.mark.parametrize(
    ('layout', 'colours', 'output'),
    [('nchw', 'bgr', 'ids'), ('nhwc', 'rgb', 'scores'), ('nchw', 'rgb', 'probabilities')],
)
def test_in_and_output_are_as_asked_for(
    layout: str, colours: str, output: str, tmp_path: Path
) -> None:
    model = Toy(bgr_to_rgb=True, **NORMALISED)
    about = replace(ABOUT, layout=layout, colours=colours, output=output)
    program = export_program(model, None, Interface(layout, colours, output), batch=None)
    write_program(program, 'onnx', tmp_path / 'a.onnx', about)
    image = np.random.default_rng(0).integers(0, 256, (2, 70, 91, 3), np.uint8)
    scores = (image[..., ::-1] - [10.0, 20.0, 30.0]) / [2.0, 3.0, 4.0]
    powers = np.exp(scores - scores.max(3, keepdims=True))
    expected = {
        'ids': scores.argmax(3),
        'scores': scores.transpose(0, 3, 1, 2),
        'probabilities': (powers / powers.sum(3, keepdims=True)).transpose(0, 3, 1, 2),
    }[output]
    network = Segmenter(tmp_path / 'a.onnx', threads=1)
    assert network.output == output
    np.testing.assert_allclose(network(image), expected, rtol=1e-5, atol=1e-5)
    # What other programs see
    (taken,) = onnx.load(tmp_path / 'a.onnx').graph.input
    axes = [n.dim_param or n.dim_value for n in taken.type.tensor_type.shape.dim]
    of_layout = {'nhwc': ['height', 'width', 3], 'nchw': [3, 'height', 'width']}
    assert axes == ['batch', *of_layout[layout]]


def test_images_below_the_least_size_are_refused(tmp_path: Path) -> None:
    program = export_program(Toy(), None)
    write_program(program, 'onnx', tmp_path / 'a.onnx', replace(ABOUT, least_size=20))
    network = Segmenter(tmp_path / 'a.onnx')
    assert network(np.zeros((20, 33, 3), np.uint8)).shape == (20, 33)
    with pytest.raises(UsageError, match=r'at least 20 pixels a side, got \(19, 33\)'):
        network(np.zeros((19, 33, 3), np.uint8))
    with pytest.raises(UsageError, match=r'for \(1, any, any, 3\), got \(2, 20, 33, 3\)'):
        network(np.zeros((2, 20, 33, 3), np.uint8))


def test_sizes_that_the_network_refuses_are_named() -> None:
    with pytest.raises(UsageError, match=r'^--size 12 16: .*12×16 pixels: .*8 divides, got 12'):
        export_program(NeedsEight(), (12, 16))


@pytest.mark.parametrize('kind', ['onnx', 'pt2'])
def test_operators_without_a_form_are_named(kind: str, tmp_path: Path) -> None:
    program = export_program(Odd(), (16, 16))
    with pytest.raises(UsageError, match=r'^the network .*deployment_test\.odd.*replace the layer'):
        write_program(program, kind, tmp_path / f'a.{kind}', ABOUT)
    assert not list(tmp_path.iterdir())


def test_operators_made_of_torchs_are_exported_and_the_network_is_traced_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once by torch.export, and once to decompose it: this is most of an export's time."""
    program = export_program(Composite(), (16, 16), Interface(output='scores'))
    calls = []
    plain = torch.export.ExportedProgram.run_decompositions

    def counted(self: torch.export.ExportedProgram, *arguments: Any) -> Any:
        calls.append(self)
        return plain(self, *arguments)

    monkeypatch.setattr(torch.export.ExportedProgram, 'run_decompositions', counted)
    write_program(program, 'onnx', tmp_path / 'a.onnx', replace(ABOUT, output='scores'))
    assert calls == [program]
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found = Segmenter(tmp_path / 'a.onnx', threads=1)(image)
    np.testing.assert_array_equal(found, image.transpose(2, 0, 1) / 2)


def test_targets_are_checked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_target(tmp_path / 'a.onnx', 'onnx')
    assert not list(tmp_path.iterdir())
    for path, kind, message in (
        (tmp_path / 'a.pb', 'onnx', r'ends in \.onnx'),
        (tmp_path / 'a.onnx', 'openvino', r'ends in \.xml'),
        (tmp_path / 'none' / 'a.pt2', 'pt2', 'there is no folder'),
        (Path('/proc/a.onnx'), 'onnx', r'^--out /proc/a\.onnx: '),
    ):
        with pytest.raises(UsageError, match=message):
            check_target(path, kind)
    for kind, precision in (('onnx', 'int8'), ('pt2', 'fp16')):
        with pytest.raises(UsageError, match=f'--precision {precision}: .*openvino.*got {kind}'):
            check_target(tmp_path / f'a.{kind}', kind, precision)
    check_target(tmp_path / 'a.xml', 'openvino', 'fp16')
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None if name == 'nncf' else name)
    with pytest.raises(UsageError, match=r"nncf not installed.*'\.\[onnx,openvino,int8\]'"):
        check_target(tmp_path / 'a.xml', 'openvino', 'int8')
    monkeypatch.setattr(exporting, 'find_spec', lambda name: None if name == 'openvino' else name)
    with pytest.raises(UsageError, match=r"openvino not installed.*'\.\[onnx,openvino\]'"):
        check_target(tmp_path / 'a.xml', 'openvino')


def test_a_failed_export_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = export_program(Toy(), (16, 16))

    def fail(*_: Any, **__: Any) -> None:
        raise torch.onnx.errors.OnnxExporterError('no such thing as odd')

    monkeypatch.setattr(torch.onnx, 'export', fail)
    with pytest.raises(UsageError, match=r'operator that ONNX has not: .*odd.*--format pt2'):
        write_program(program, 'onnx', tmp_path / 'a.onnx', ABOUT)
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_exported_network_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = onnx.helper.make_tensor_value_info('x', onnx.TensorProto.FLOAT, [1])
    output = onnx.helper.make_tensor_value_info('y', onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node('Relu', ['x'], ['y'])
    graph = onnx.helper.make_graph([node], 'g', [value], [output])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid('', 18)], ir_version=8
    )
    foreign, damaged = tmp_path / 'foreign.onnx', tmp_path / 'damaged.onnx'
    onnx.save(model, foreign)
    damaged.write_bytes(b'no network')
    ours = {'a list.onnx': '[]', 'cut.onnx': '{"classes": ["a', 'short.onnx': '{"classes": []}'}
    for name, about in ours.items():
        onnx.helper.set_model_props(model, {exporting.METADATA: about})
        onnx.save(model, tmp_path / name)
    other = tmp_path / 'a.txt'
    other.write_text('')
    for file, message in (
        (foreign, r'expected a network that tools/export\.py wrote'),
        (damaged, 'onnxruntime cannot load it'),
        *((tmp_path / name, 'damaged, or of another version') for name in ours),
        (tmp_path / 'none.onnx', 'no such file'),
        (other, r'ends in \.onnx or \.xml'),
    ):
        with pytest.raises(UsageError, match=message):
            Segmenter(file)
    monkeypatch.setattr(runtime, 'find_spec', lambda name: None)
    with pytest.raises(UsageError, match='pip install onnxruntime'):
        Segmenter(foreign)
