"""Every head of the family, the neck, the backbone and DDF-Up, small, as ONNX in both runtimes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import onnxruntime
import pytest
import torch
from exported import TOLERANCE, assert_agree, run_without, tensorrt_faults
from mmseg.registry import MODELS
from torch import nn
from torch.fx import Interpreter

from ddf_seg.deployment.converting import to_onnx
from ddf_seg.deployment.exporting import write_program
from ddf_seg.deployment.network import Metadata
from ddf_seg.ops.interpolation_softmax import LOG_PRIOR, START, WEIGHTS
from ddf_seg.runtime import import_openvino
from ddf_seg.swap.surroundings import _UNET_UPSAMPLING

_LEVELS = dict(in_channels=[6, 8], in_index=[0, 1])
HEADS = [
    dict(type='DDFHead', **_LEVELS),
    dict(type='DDFUPerHead', pool_scales=(1, 2), **_LEVELS),
    dict(
        type='DDFSegformerHead', **_LEVELS,
        ddf_cfg=dict(kernel_combine='add', head=2, normalization='filter_norm'),
    ),
    dict(type='DDFSegformerHead', in_channels=[6, 8, 10], in_index=[0, 1, 2]),
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


Part = tuple[nn.Module, tuple[torch.Tensor, ...]]
_HEAD = dict(
    channels=8, num_classes=5, norm_cfg=dict(type='BN'), align_corners=False, dropout_ratio=0.0
)


class Levels(nn.Module):
    """A head or a neck, which take their levels as one list."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *levels: torch.Tensor) -> Any:
        return self.part(levels)


class Cascade(nn.Module):
    """Two heads; the second is given the scores of the first, as in CascadeEncoderDecoder."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, *levels: torch.Tensor) -> Any:
        return self.second(levels, self.first(levels))


def filled(cfg: dict[str, Any]) -> nn.Module:
    """A part with random weights: what starts at 0 would hide whole branches.

    And every layer passes on what it gets, so that a small fault early on is seen at the end.
    """
    torch.manual_seed(0)
    part: nn.Module = MODELS.build(dict(_scope_='mmseg', **cfg))
    part.eval()  # mmseg's backbones return nothing from it
    for name, parameter in part.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        elif name.endswith(('weight', 'std')):
            nn.init.normal_(parameter, mean=1.0, std=0.3)
        else:
            nn.init.normal_(parameter, std=0.3)
    for name, parameter in part.named_parameters():
        # A branch that adds little, or filters that are nearly those of interpolation, would hide
        # a decomposition that is off by 1 %.
        if name.endswith('gated.factor'):
            nn.init.constant_(parameter, 3.0)
        elif name.endswith(('spatial_branch.depthwise.weight', 'spatial_branch.pointwise.weight')):
            parameter.data.mul_(5)
        elif name.endswith(('guide.bias', 'coarse.pointwise.bias')):
            parameter.data.mul_(4)
    return part


def title(cfg: dict[str, Any]) -> str:
    is_papers = cfg.get('ddf_cfg', {}).get('normalization') == 'filter_norm'
    return f'{cfg["type"]}{" with filter_norm" if is_papers else ""}'


def head(cfg: dict[str, Any]) -> Part:
    fine = (10, 14) if cfg['type'] == 'DDFFPNHead' else (10, 13)
    levels = torch.randn(1, 6, *fine), torch.randn(1, 8, 5, 7), torch.randn(1, 10, 3, 4)
    return Levels(filled({**_HEAD, **cfg})), levels[: 1 + max(np.atleast_1d(cfg['in_index']))]


def cascade() -> Part:
    """OCRHead's regions are sums weighted by the scores of the stage before."""
    cfg = dict(_HEAD, in_channels=8, in_index=1)
    guides = dict(guide_index=[0], guide_channels=[6], ocr_channels=4)
    first = filled(dict(cfg, type='FCNHead', num_convs=1))
    second = filled(dict(cfg, type='DDFGuidedHead', head='OCRHead', **guides))
    return Cascade(first, second), (torch.randn(1, 6, 10, 13), torch.randn(1, 8, 5, 7))


def three_branches() -> Part:
    """PIDHead gets the map of one of PIDNet's branches alone, once it is trained."""
    cfg = dict(_HEAD, in_channels=8)
    del cfg['dropout_ratio']
    return filled(dict(cfg, type='DDFGuidedHead', head='PIDHead')), (torch.randn(1, 8, 9, 11),)


def neck() -> Part:
    cfg = dict(type='DDFFPN', in_channels=[4, 6, 8], out_channels=8, num_outs=4)
    levels = torch.randn(1, 4, 17, 26), torch.randn(1, 6, 9, 13), torch.randn(1, 8, 5, 7)
    return Levels(filled(cfg)), levels


def backbone() -> Part:
    """With strides and dilations, as in the heads of stride 8."""
    cfg = dict(
        type='DDFResNetV1c', depth=50, base_channels=4, stem_channels=4, num_stages=2,
        strides=(2, 1), dilations=(1, 2), out_indices=(0, 1),
    )  # fmt: skip
    part = filled(cfg)
    for stage in ('layer1', 'layer2'):
        del getattr(part, stage)[2:]
    return part, (torch.randn(1, 3, 33, 48),)


def unet() -> Part:
    cfg = dict(
        type='UNet', base_channels=4, num_stages=3, strides=(1, 1, 1), downsamples=(True, True),
        enc_num_convs=(1, 1, 1), dec_num_convs=(1, 1), enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1), upsample_cfg=dict(_UNET_UPSAMPLING),
    )  # fmt: skip
    cfg['upsample_cfg'].pop('_delete_')
    return filled(cfg), (torch.randn(1, 3, 16, 24),)


PARTS: dict[str, Callable[[], Part]] = {
    **{title(cfg): partial(head, cfg) for cfg in HEADS},
    'OCRHead after FCNHead': cascade,
    'PIDHead': three_branches,
    'DDFFPN': neck,
    'DDFResNetV1c': backbone,
    'DDFUp in a UNet': unet,
}


def exported(part: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(part, inputs)


def outputs(part: nn.Module, inputs: tuple[torch.Tensor, ...]) -> list[np.ndarray]:
    with torch.no_grad():
        result = part(*inputs)
    return [x.numpy() for x in (result if isinstance(result, (list, tuple)) else [result])]


# Exported by the steps that the others have, which takes seconds each
SLOW = {
    'DDFUPerHead',
    'DDFSegformerHead',
    'DDFFPNHead',
    'DDFASPPHead with filter_norm',
    'OCRHead after FCNHead',
}


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in PARTS],
)
def test_it_agrees(name: str) -> None:
    part, inputs = PARTS[name]()
    expected = outputs(part, inputs)
    network = to_onnx(exported(part, inputs)).model_proto
    assert {node.domain for node in network.graph.node} == {''}
    assert not tensorrt_faults(network)
    content = network.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=['CPUExecutionProvider'])
    arrays = [x.numpy() for x in inputs]
    feed = dict(zip((x.name for x in session.get_inputs()), arrays, strict=True))
    openvino = import_openvino()
    model = openvino.Core().read_model(io.BytesIO(content))
    compiled = openvino.compile_model(model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    results = compiled(arrays)
    for found in (session.run(None, feed), [results[i] for i in range(len(expected))]):
        for ours, theirs in zip(found, expected, strict=True):
            assert_agree(ours[0], theirs[0])


class Faulty(Interpreter):
    """A graph where one call of an operator gets, or gives, 1 % more.

    Args:
        graph: of torch.export.
        call: the name of its node.
        place: of the argument that is too large, or None: the result is.
        part: which part of it is; of a list, which of its tensors.
    """

    def __init__(
        self, graph: torch.fx.GraphModule, call: str, place: int | None, part: slice
    ) -> None:
        super().__init__(graph)
        self.call, self.place, self.part = call, place, part
        self.node: torch.fx.Node | None = None

    def run_node(self, n: torch.fx.Node) -> Any:
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if self.node is None or self.node.name != self.call:
            return super().call_function(target, args, kwargs)
        if self.place is None:
            return 1.01 * super().call_function(target, args, kwargs)
        of_place = args[self.place]
        wrong = [*of_place] if isinstance(of_place, list) else of_place.clone()
        if isinstance(wrong, list):
            wrong[self.part] = [1.01 * x for x in wrong[self.part]]
        else:
            wrong[self.part] *= 1.01
        args = (*args[: self.place], wrong, *args[self.place + 1 :])
        return super().call_function(target, args, kwargs)


# The parts of tables; the weights are those of all sources.
TABLES = [slice(at, at + 1) for at in (LOG_PRIOR, START)] + [slice(WEIGHTS, None)]


def faults(graph: torch.fx.GraphModule) -> Iterator[Faulty]:
    """1 % too much in each thing that each of our operators takes."""
    for node in graph.graph.nodes:
        if getattr(node.target, 'namespace', '') != 'ddf_seg':
            continue
        name = node.target._schema.name
        if name == 'ddf_seg::filter_norm':  # which makes the same of larger filters
            yield Faulty(graph, node.name, None, slice(None))
            continue
        for place, argument in enumerate(node.args):
            if isinstance(argument, list) and isinstance(argument[0], torch.fx.Node):
                for i in range(len(argument)):
                    yield Faulty(graph, node.name, place, slice(i, i + 1))
            elif isinstance(argument, torch.fx.Node):
                is_table = node.target._schema.arguments[place].name in ('rows', 'columns')
                for part in TABLES if is_table else [slice(None)]:
                    yield Faulty(graph, node.name, place, part)


@pytest.mark.parametrize('name', PARTS)
def test_a_fault_of_one_percent_would_be_seen(name: str) -> None:
    """In what `test_it_agrees` compares, wherever it is in the filters of each layer."""
    part, inputs = PARTS[name]()
    expected = outputs(part, inputs)
    tried = 0
    for faulty in faults(exported(part, inputs).module()):
        with torch.no_grad():
            result = faulty.run(*inputs)
        found = result if isinstance(result, (list, tuple)) else [result]
        differences = [
            np.abs(ours.numpy() - theirs).max() / (theirs.max() - theirs.min())
            for ours, theirs in zip(found, expected, strict=True)
        ]
        assert max(differences) > 3 * TOLERANCE, (faulty.call, faulty.place, faulty.part)
        tried += 1
    assert tried >= 3


@pytest.mark.parametrize('cfg', [HEADS[i] for i in (0, 3)], ids=title)
def test_torch_compiles_a_guided_head_whole(cfg: dict[str, Any]) -> None:
    """Without a break of the graph."""
    part, inputs = head(cfg)
    expected = outputs(part, inputs)
    torch.compiler.reset()
    compiled = torch.compile(part, fullgraph=True, backend='aot_eager')
    assert_agree(outputs(compiled, inputs)[0][0], expected[0][0])


def test_torch_runs_its_own_program_without_us(tmp_path: Path) -> None:
    part, inputs = head(HEADS[0])
    program = exported(part, inputs)
    write_program(program, 'pt2', tmp_path / 'network.pt2', Metadata([], [], 1, 'small'))
    torch.save(inputs, tmp_path / 'inputs.pt')
    code = (
        'import numpy as np, torch\n'
        "program = torch.export.load('network.pt2').module()\n"
        "np.save('out.npy', program(*torch.load('inputs.pt')).detach().numpy())"
    )
    run_without(['ddf_seg', 'mmengine'], code, tmp_path)
    assert_agree(np.load(tmp_path / 'out.npy')[0], outputs(part, inputs)[0][0])


def test_the_optimizer_finds_what_onnxscripts_own_does() -> None:
    """Which looks at all pairs of nodes for one rule."""
    program = exported(*PARTS['DDFSegformerHead with filter_norm']())
    ours, theirs = to_onnx(program), to_onnx(program, optimize=False)
    theirs.optimize()
    counts = [Counter(node.op_type for node in of.model.graph) for of in (ours, theirs)]
    assert counts[0] == counts[1]


def test_the_optimizer_does_without_a_rule_that_onnxscript_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As 0.6 does."""
    monkeypatch.delattr('onnxscript.rewriter.rules.common.materialize_reshape_shape_rule')
    program = exported(nn.Conv2d(2, 3, 1), (torch.zeros(1, 2, 4, 4),))
    assert [node.op_type for node in to_onnx(program).model.graph] == ['Conv']
