"""Every head of the family, small, as ONNX in both runtimes."""

from __future__ import annotations

import io
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from exported import assert_agree
from mmseg.registry import MODELS
from torch import nn

from ddf_seg.deployment.decompositions import decomposition_table
from ddf_seg.deployment.exporting import OPSET

_LEVELS = dict(in_channels=[6, 8], in_index=[0, 1])
HEADS = [
    dict(type='DDFHead', **_LEVELS),
    dict(type='DDFHead', **_LEVELS, ddf_cfg=dict(normalization='filter_norm', branches='both')),
    dict(type='DDFUPerHead', pool_scales=(1, 2), **_LEVELS),
    dict(
        type='DDFSegformerHead', **_LEVELS,
        ddf_cfg=dict(kernel_combine='add', head=2, normalization='filter_norm'),
    ),
    dict(type='DDFFPNHead', feature_strides=[4, 8], **_LEVELS),
    dict(
        type='DDFASPPHead', in_channels=8, in_index=1, dilations=(1, 2), c1_in_channels=6,
        c1_channels=4,
    ),
    dict(
        type='DDFGuidedHead', head='PSPHead', pool_scales=(1, 2), in_channels=8, in_index=1,
        guide_index=[0], guide_channels=[6],
    ),
]  # fmt: skip


class Head(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> Any:
        return self.head([fine, coarse])


@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
def test_it_agrees(cfg: dict[str, Any]) -> None:
    torch.manual_seed(0)
    arguments = dict(
        channels=8, num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0
    )
    head = MODELS.build({**arguments, **cfg}).eval()
    # What starts at 0 would hide whole branches.
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    inputs = (torch.randn(1, 6, 10, 13), torch.randn(1, 8, 5, 7))
    if cfg['type'] == 'DDFFPNHead':
        inputs = (torch.randn(1, 6, 10, 14), inputs[1])
    with torch.no_grad():
        expected = head(list(inputs))[0].numpy()
        program = torch.export.export(Head(head), inputs).run_decompositions(decomposition_table())
    # Both runtimes optimise for themselves, and the exporter takes long over it.
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, opset_version=OPSET, optimize=False
    )
    assert exported is not None
    assert {node.domain for node in exported.model.graph} == {''}
    content = exported.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    arrays = [x.numpy() for x in inputs]
    feed = dict(zip((x.name for x in session.get_inputs()), arrays, strict=True))
    assert_agree(session.run(None, feed)[0][0], expected)
    model = openvino.Core().read_model(io.BytesIO(content))
    compiled = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    assert_agree(np.array(compiled(arrays)[0])[0], expected)
