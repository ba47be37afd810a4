"""DDF heads and necks with another's weights compute, at first, exactly what that one computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

import ddf_seg.openmmlab  # noqa: F401  # isort: split

CHANNELS = [6, 8, 10, 12]
STRIDES = [4, 8, 16, 32]
HEAD: dict[str, Any] = dict(
    in_channels=CHANNELS,
    in_index=[0, 1, 2, 3],
    channels=16,
    num_classes=5,
    norm_cfg=dict(type='BN'),
)
LAST = {**HEAD, 'in_channels': 12, 'in_index': 3, 'dilations': (1, 2, 3)}
FPN: dict[str, Any] = dict(type='FPN', in_channels=CHANNELS, out_channels=16, num_outs=5)
TOP_DOWN = dict(
    type='TopDownHead',
    upsample=dict(type='PlainUpsample'),
    refine=dict(type='SeparableRefinement'),
    widths=[16, 24, 24, 24],
    **HEAD,
)
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    'segformer': (dict(type='SegformerHead', **HEAD), dict(type='DDFSegformerHead')),
    'uper': (dict(type='UPerHead', **HEAD), dict(type='DDFUPerHead')),
    'fpn': (
        dict(type='FPNHead', feature_strides=STRIDES, **HEAD),
        dict(type='DDFFPNHead'),
    ),
    'separable aspp': (
        dict(type='DepthwiseSeparableASPPHead', c1_in_channels=6, c1_channels=7, **LAST),
        dict(type='DDFASPPHead', ddf_cfg=dict(strides=[4, 32])),
    ),
    'aspp': (dict(type='ASPPHead', **LAST), dict(type='DDFASPPHead')),
    'top-down': (TOP_DOWN, dict(type='DDFHead')),
    'fcn without guides': (
        dict(type='FCNHead', **{k: v for k, v in LAST.items() if k != 'dilations'}),
        dict(type='DDFGuidedHead', head='FCNHead'),
    ),
    'neck': (FPN, dict(type='DDFFPN')),
    'neck, bilinear': (
        {**FPN, 'upsample_cfg': dict(mode='bilinear', align_corners=False)},
        dict(type='DDFFPN'),
    ),
}


def of_another(own: dict[str, Any], ddf: dict[str, Any]) -> tuple[nn.Module, nn.Module]:
    """A head as if it had been trained, and its counterpart with its weights."""
    original = MODELS.build(own)
    if hasattr(original, 'init_weights'):
        original.init_weights()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 1, 0.2)
    counterpart = {k: v for k, v in own.items() if k not in ('upsample', 'refine')} | ddf
    built = MODELS.build(counterpart)
    built.init_weights()
    result = built.load_state_dict(original.state_dict(), strict=False)
    assert not result.unexpected_keys
    return original.eval(), built.eval()


def levels(height: int, width: int) -> list[Tensor]:
    return [
        torch.randn(2, channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('name', PAIRS)
@torch.no_grad()
def test_same_outputs(name: str, align_corners: bool) -> None:
    own, ddf = PAIRS[name]
    if own['type'] != 'FPN':
        own = {**own, 'align_corners': align_corners}
    original, built = of_another(own, ddf)
    x = levels(64, 96)
    expected, found = original(x), built(x)
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (expected, found)), strict=True):
        scale = float(a.abs().max())
        assert float((a - b).abs().max()) < 1e-5 * max(scale, 1)


@pytest.mark.parametrize('name', ['fpn', 'separable aspp', 'top-down', 'neck'])
@torch.no_grad()
def test_same_outputs_at_sizes_that_are_no_multiples(name: str) -> None:
    original, built = of_another(*PAIRS[name])
    x = levels(75, 101)
    expected, found = original(x), built(x)
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (expected, found)), strict=True):
        assert float((a - b).abs().max()) < 1e-5 * max(float(a.abs().max()), 1)


@pytest.mark.parametrize('name', PAIRS)
def test_the_new_parts_learn(name: str) -> None:
    original, built = of_another(*PAIRS[name])
    out = built(levels(64, 96))
    sum(y.square().sum() for y in (out if isinstance(out, tuple) else (out,))).backward()
    own = set(dict(original.named_parameters()))
    first = ('.guide.weight', '.guide.bias', '.factor')
    new = {n: p for n, p in built.named_parameters() if n not in own and n.endswith(first)}
    assert new
    still = [n for n, p in new.items() if p.grad is None or not p.grad.any()]
    assert not still
