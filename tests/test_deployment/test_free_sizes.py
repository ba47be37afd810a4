"""One file for images of every size and number: against the same network in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from exported import assert_agree
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from test_heads import HEADS, filled
from torch import Tensor, nn
from torch.export import Dim

from ddf_seg import runtime
from ddf_seg.decoders import GuidedUpsample
from ddf_seg.deployment.converting import to_onnx
from ddf_seg.deployment.decompositions import adaptive_average
from ddf_seg.deployment.exporting import convert_to_openvino, export_program, write_program
from ddf_seg.deployment.network import ImageSegmentor, Interface, Metadata
from ddf_seg.runtime import Segmenter

ABOUT = Metadata(['a', 'b', 'c', 'd', 'e'], [[0, 0, 0]] * 5, 1, 'toy')
SCORES = Interface(output='scores')
BATCHES = [(1, 96, 64), (3, 61, 83), (1, 50, 37), (2, 135, 203)]


@MODELS.register_module()
class TwoLevels(BaseModule):
    """Levels of 6 and 8 channels; sizes are rounded up, as most backbones do."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 6, 7, stride=4, padding=3)
        self.coarse = nn.Conv2d(6, 8, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(x)
        return fine, self.coarse(fine)


def segmentor(head: dict[str, Any], **padding: Any) -> Any:
    preprocessing = dict(type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, **padding)
    common = dict(
        channels=8, num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0
    )
    network: Any = filled(
        dict(
            type='EncoderDecoder',
            backbone=dict(type='TwoLevels'),
            decode_head={**common, **head},
            data_preprocessor=preprocessing,
            test_cfg=dict(mode='whole'),
        )
    )
    return network


def photo(shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    coarse = rng.integers(0, 256, (shape[0], *(n // 8 + 1 for n in shape[1:]), 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, 1).repeat(8, 2)[:, : shape[1], : shape[2]])


# What the shipped network is, and a head with poolings whose steps continue each other's
# interpolation, at sizes that are no multiples. An export with free sizes takes long.
CASES = [
    (HEADS[0], dict(test_cfg=dict(size_divisor=32))),
    pytest.param(HEADS[1], {}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(('head', 'padding'), CASES)
def test_every_size_agrees(
    head: dict[str, Any],
    padding: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = segmentor(head, **padding)
    program = export_program(model, None, SCORES, batch=None)
    file, ir = tmp_path / 'network.onnx', tmp_path / 'network.xml'
    write_program(program, 'onnx', file, ABOUT)
    convert_to_openvino(file, ir, ABOUT)
    graph = onnx.load(file).graph
    assert {node.domain for node in graph.node} == {''}
    (image,) = graph.input
    axes = [n.dim_param or n.dim_value for n in image.type.tensor_type.shape.dim]
    assert axes == ['batch', 'height', 'width', 3]
    write_program(program, 'pt2', tmp_path / 'network.pt2', ABOUT)
    module = torch.export.load(tmp_path / 'network.pt2').module()
    runtimes = (
        Segmenter(file, threads=1),
        Segmenter(ir, threads=1),
        lambda images: module(torch.from_numpy(images)).detach().numpy(),
    )
    # Each runs first as a model of free sizes, then as one of the batch's.
    monkeypatch.setattr(runtime, '_BEFORE_OWN', 1)
    for shape in (*BATCHES, *BATCHES):
        images = photo(shape)
        with torch.no_grad():
            expected = ImageSegmentor(model, SCORES)(torch.from_numpy(images)).numpy()
        for run in runtimes:
            for found, of_torch in zip(run(images), expected, strict=True):
                assert_agree(found, of_torch)


def test_a_size_that_keeps_coming_is_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, '_BEFORE_OWN', 2)
    monkeypatch.setattr(runtime, '_MOST_OWN', 2)
    compiled: list[tuple[int, ...] | None] = []
    ran: list[tuple[int, ...] | None] = []

    def compile_for(size: tuple[int, ...] | None) -> Callable[[np.ndarray], np.ndarray]:
        compiled.append(size)

        def run(batch: np.ndarray) -> np.ndarray:
            assert size in (None, batch.shape)
            ran.append(size)
            return batch

        return run

    run = runtime._OfSizes(compile_for)
    a, b, c = (1, 2), (3, 4), (5, 6)
    for size in (a, b, a, a, b, b, a, c, c, c, b, a):
        run(np.zeros(size))
    # c makes b be forgotten, which was not used for longest, and starts again.
    assert compiled == [None, a, b, c]
    assert ran == [None, None, None, a, None, b, a, None, None, c, None, a]


class Step(nn.Module):
    """A step of guided upsampling, as a function of the coarse map and the guide."""

    def __init__(self) -> None:
        super().__init__()
        self.up = GuidedUpsample(
            4, 4, 2, dict(mode='bilinear', align_corners=False), guide_channels=5
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        return self.up(x, guide)


@pytest.mark.slow
def test_a_step_between_levels_that_double() -> None:
    """In ONNX Runtime: tiles of 2×2 parents, whose sizes are free."""
    torch.manual_seed(0)
    step, (height, width) = Step().eval(), (Dim('height', min=4), Dim('width', min=4))
    shapes = ({2: height, 3: width}, {2: 2 * height, 3: 2 * width})
    inputs = torch.randn(1, 4, 8, 6), torch.randn(1, 5, 16, 12)
    program = torch.export.export(step, inputs, dynamic_shapes=shapes)
    content = to_onnx(program, optimize=False).model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    names = [of_input.name for of_input in session.get_inputs()]
    for low in ((4, 5), (7, 9)):
        x, guide = torch.randn(1, 4, *low), torch.randn(1, 5, *(2 * n for n in low))
        feed = dict(zip(names, (x.numpy(), guide.numpy()), strict=True))
        with torch.no_grad():
            assert_agree(session.run(None, feed)[0][0], step(x, guide)[0].numpy())


@pytest.mark.parametrize('size', [(1, 2), (3, 3), (6, 6)])
@pytest.mark.parametrize('shape', [(5, 7), (6, 4), (2, 1)])
def test_pooling_is_torchs(shape: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *shape)
    torch.testing.assert_close(adaptive_average(x, size), F.adaptive_avg_pool2d(x, size))
