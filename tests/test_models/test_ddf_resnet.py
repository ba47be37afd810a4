"""DDF-ResNets: the paper's sizes, an independent forward, the authors' keys, and the converter."""

import argparse
import sys

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import ddfnet_reference as paper
import pytest
import torch
from mmengine.analysis import get_model_complexity_info
from mmseg.registry import MODELS
from torch import nn

from ddf_seg.cli.convert.ddfnet import main
from ddf_seg.command_line import show_usage_errors
from ddf_seg.engine.weights import ddfnet
from ddf_seg.errors import UsageError
from ddf_seg.layers import DDFPack

D8 = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))


def build(depth=50, type='DDFResNet', **kwargs):
    return MODELS.build(dict(type=type, depth=depth, **kwargs))


def small(type='DDFResNet', **kwargs):
    """All that differs between variants, at a sixteenth of the width."""
    return build(type=type, base_channels=4, stem_channels=4, **kwargs)


class Classifier(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.backbone = build(**kwargs)
        self.fc = nn.Linear(2048, 1000)

    def forward(self, x):
        return self.fc(self.backbone(x)[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ('depth', 'se_ratio', 'millions'),
    [(50, 0.2, 16.8), (50, 0.3, 18.1), (50, 0.4, 19.4), (101, 0.2, 28.1)],
)
def test_parameters_are_the_papers(depth, se_ratio, millions):
    with torch.device('meta'):
        net = Classifier(depth=depth, ddf_cfg=dict(se_ratio=se_ratio))
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ('depth', 'billions'), [(50, 2.3), pytest.param(101, 4.1, marks=pytest.mark.slow)]
)
def test_multiply_adds_are_the_papers(depth, billions):
    net = Classifier(depth=depth)
    net.eval()
    info = get_model_complexity_info(net, (3, 224, 224), show_table=False, show_arch=False)
    assert round(info['flops'] / 1e9, 1) == billions


@pytest.mark.parametrize('depth', [50, 101, 152])
def test_keys_are_the_authors(depth):
    with torch.device('meta'):
        ours = {k: tuple(v.shape) for k, v in build(depth).state_dict().items()}
    theirs = paper.shapes(depth)
    del theirs['fc.weight'], theirs['fc.bias']
    assert ours == theirs


@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
def test_the_authors_state_dict_against_plain_torch(kernel_combine):
    """On a size that no stride divides."""
    weights = paper.state_dict(50)
    net = build(ddf_cfg=dict(kernel_combine=kernel_combine))
    result = net.load_state_dict(weights, strict=False)
    assert not result.missing_keys
    assert result.unexpected_keys == ['fc.weight', 'fc.bias']
    net.eval()
    x = torch.randn(1, 3, 75, 57)
    with torch.no_grad():
        ours, theirs = net(x), paper.levels(weights, x, kernel_combine)
    for out, expected in zip(ours, theirs, strict=True):
        scale = expected.abs().max()
        torch.testing.assert_close(out / scale, expected / scale, rtol=0, atol=2e-3)
    assert [tuple(out.shape[2:]) for out in ours] == [(19, 15), (10, 8), (5, 4), (3, 2)]


@pytest.mark.parametrize(
    ('type', 'stem', 'average'), [('DDFResNetV1c', True, False), ('DDFResNetV1d', True, True)]
)
def test_variants_convert_and_dilate(type, stem, average):
    weights = paper.state_dict(50, deep_stem=stem, avg_down=average, se_ratio=0.3)
    conversion = ddfnet.convert(dict(state_dict=weights), 'mul')
    net = build(type=type, ddf_cfg=dict(se_ratio=0.3), **D8)
    net.load_state_dict(conversion.state_dict)
    net.eval()
    x = torch.randn(1, 3, 49, 65)
    with torch.no_grad():
        ours, theirs = net(x), paper.levels(weights, x, **D8)
    for out, expected in zip(ours, theirs, strict=True):
        scale = expected.abs().max()
        torch.testing.assert_close(out / scale, expected / scale, rtol=0, atol=2e-3)
    assert [tuple(out.shape[2:]) for out in ours] == [(13, 17), (7, 9), (7, 9), (7, 9)]


def test_mmsegs_resnet_with_dcn_is_the_same_network():
    ours = small(ddf_cfg=dict(kernel_combine='add'))
    theirs = small('ResNet', dcn=dict(type='DDF', kernel_combine='add'), stage_with_dcn=(True,) * 4)
    theirs.load_state_dict(ours.state_dict())
    for net in (ours, theirs):
        net.eval()
    x = torch.randn(1, 3, 33, 47)
    torch.testing.assert_close(theirs(x), ours(x), rtol=0, atol=0)


def test_dcn_in_some_stages_of_mmsegs_resnet():
    net = small('ResNetV1c', dcn=dict(type='DDF'), stage_with_dcn=(False, False, True, True))
    kinds = [type(getattr(net, f'layer{i}')[0].conv2) for i in range(1, 5)]
    assert [issubclass(kind, DDFPack) for kind in kinds] == [False, False, True, True]


def test_other_depths_are_refused():
    with pytest.raises(ValueError, match='depth: expected one of'):
        build(18)


def test_initialisation_is_the_layers_own():
    """The network's Kaiming would zero the biases of the branches and widen their weights."""
    torch.manual_seed(0)
    net = small()
    net.init_weights()
    block = net.layer2[0]
    assert block.conv2.spatial_branch[0].bias.any()
    assert block.conv2.channel_branch[1].weight.abs().max() <= 8**-0.5
    assert not block.bn3.weight.any()


def test_every_parameter_learns():
    # At a smaller width the squeeze has a unit or two, which the ReLU may well close.
    torch.manual_seed(0)
    net = build(base_channels=32, stem_channels=32, zero_init_residual=False)
    net.init_weights()
    sum(out.square().mean() for out in net(torch.randn(2, 3, 64, 64))).backward()
    still = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['ddfnet.py', *map(str, arguments)])
    return show_usage_errors(main)


def test_converter_reports_every_key_and_writes_what_init_cfg_loads(monkeypatch, tmp_path, capsys):
    weights = {f'module.{k}': v for k, v in paper.state_dict(50, deep_stem=True).items()}
    source, out = tmp_path / 'best.pth.tar', tmp_path / 'out.pth'
    arguments = argparse.Namespace(lr=0.4)
    torch.save(dict(arch='ddf_add_resnet50', state_dict=weights, args=arguments), source)
    assert run(monkeypatch, source, out) == 0
    report = capsys.readouterr().out
    lines = report.splitlines()
    for key in weights:
        assert sum(key in line.split() for line in lines) == 1
    assert 'renamed    module.conv1.0.weight -> stem.0.weight' in lines
    assert 'left over  module.fc.bias' in lines
    assert f'0 keys used, {len(weights) - 2} renamed, 2 left over' in lines
    backbone = eval(report.partition('\nbackbone=')[2])
    assert backbone['ddf_cfg'] == dict(kernel_combine='add', se_ratio=0.2)
    net = MODELS.build(backbone)
    net.init_weights()
    state = net.state_dict()
    torch.testing.assert_close(state['stem.7.weight'], weights['module.bn1.weight'])
    for key in ('layer3.5.conv2.channel_branch.4.std', 'layer4.2.bn3.weight'):
        torch.testing.assert_close(state[key], weights[f'module.{key}'])


def test_converter_takes_a_plain_state_dict_as_it_is():
    weights = paper.state_dict(101)
    conversion = ddfnet.convert(weights, 'mul')
    assert conversion.backbone['depth'] == 101
    assert not conversion.renamed
    assert [*conversion.used, *conversion.left_over] == list(weights)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(remove='layer2.1.conv3.weight'), "lack.*'layer2.1.conv3.weight'"),
        (dict(add='layer1.0.se.weight'), 'layer1.0.se.weight: no part of'),
        (dict(replace='layer1.0.conv3.weight'), 'layer1.0.conv3.weight: expected shape'),
        (dict(remove='layer4.0.conv2.channel_branch.1.weight'), 'expected the keys of a DDF'),
    ],
)
def test_converter_refuses_other_networks(change, message):
    weights = paper.state_dict(50)
    if 'remove' in change:
        del weights[change['remove']]
    else:
        weights[next(iter(change.values()))] = torch.zeros(1)
    with pytest.raises(UsageError, match=message):
        ddfnet.convert(weights, 'mul')


def test_converter_asks_for_what_the_file_does_not_say(monkeypatch, tmp_path, capsys):
    torch.save(paper.state_dict(50), tmp_path / 'weights.pth')
    assert run(monkeypatch, tmp_path / 'weights.pth', tmp_path / 'out.pth') == 1
    assert '--kernel-combine' in capsys.readouterr().err
    assert run(monkeypatch, tmp_path / 'missing.pth', tmp_path / 'out.pth') == 1
    assert 'does not exist' in capsys.readouterr().err
