"""Every head of the family, small, as ONNX in both runtimes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from exported import assert_agree, run_without
from mmseg.registry import MODELS
from torch import nn

from ddf_seg.deployment.decompositions import decomposition_table
from ddf_seg.deployment.exporting import OPSET, write_program
from ddf_seg.deployment.network import Metadata

_LEVELS = dict(in_channels=[6, 8], in_index=[0, 1])
HEADS = [
    dict(type='DDFHead', **_LEVELS),
    dict(type='DDFUPerHead', pool_scales=(1, 2), **_LEVELS),
    dict(
        type='DDFSegformerHead', **_LEVELS,
        ddf_cfg=dict(kernel_combine='add', head=2, normalization='filter_norm'),
    ),
    dict(type='DDFFPNHead', feature_strides=[4, 8], **_LEVELS),
    dict(
        type='DDFASPPHead', in_channels=8, in_index=1, dilations=(1, 2), c1_in_channels=6,
        c1_channels=4, ddf_cfg=dict(normalization='filter_norm'),
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


def small(cfg: dict[str, Any]) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A head with random weights, and two levels for it."""
    torch.manual_seed(0)
    arguments = dict(
        channels=8, num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0
    )
    head = MODELS.build({**arguments, **cfg}).eval()
    # What starts at 0 would hide whole branches.
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    fine = (10, 14) if cfg['type'] == 'DDFFPNHead' else (10, 13)
    return Head(head), (torch.randn(1, 6, *fine), torch.randn(1, 8, 5, 7))


def decomposed(head: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(head, inputs).run_decompositions(decomposition_table())


@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
def test_it_agrees(cfg: dict[str, Any]) -> None:
    head, inputs = small(cfg)
    with torch.no_grad():
        expected = head(*inputs)[0].numpy()
    program = decomposed(head, inputs)
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


def test_torch_runs_its_own_program_without_us(tmp_path: Path) -> None:
    head, inputs = small(HEADS[0])
    program = decomposed(head, inputs)
    write_program(program, 'pt2', tmp_path / 'network.pt2', Metadata([], [], 1, 'small'))
    torch.save(inputs, tmp_path / 'inputs.pt')
    code = (
        'import numpy as np, torch\n'
        "program = torch.export.load('network.pt2').module()\n"
        "np.save('out.npy', program(*torch.load('inputs.pt')).detach().numpy())"
    )
    run_without(['ddf_seg', 'mmengine'], code, tmp_path)
    with torch.no_grad():
        assert_agree(np.load(tmp_path / 'out.npy')[0], head(*inputs)[0].numpy())
