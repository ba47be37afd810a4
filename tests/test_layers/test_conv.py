"""DDFConv2d: what nn.Conv2d promises of sizes and arguments, what DDFPack promises of values."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import authors
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.layers import DDFConv2d, DDFPack


def features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('stride', [1, 2])
def test_equal_channels_are_a_ddf_pack(stride: int) -> None:
    """Same keys, same values; the authors' layer is the measure of both."""
    conv = DDFConv2d(8, 8, 3, stride, padding=1, bias=False)
    assert list(conv.state_dict()) == list(DDFPack(8).state_dict())
    theirs = authors.DDFPack(8, stride=stride)
    conv.load_state_dict(theirs.state_dict(), strict=True)
    x = features(2, 8, 9, 7)
    torch.testing.assert_close(conv(x), theirs(x), rtol=1e-3, atol=1e-4)


def test_arguments_of_ddf_reach_the_pack() -> None:
    arguments = {'head': 2, 'se_ratio': 0.5, 'nonlinearity': 'linear', 'kernel_combine': 'add'}
    conv = DDFConv2d(8, 8, 5, 2, padding=4, dilation=2, bias=False, **arguments)
    theirs = authors.DDFPack(8, 5, 2, 2, **arguments)
    conv.load_state_dict(theirs.state_dict(), strict=True)
    x = features(2, 8, 9, 8)
    torch.testing.assert_close(conv(x), theirs(x), rtol=1e-3, atol=1e-4)
    with pytest.raises(TypeError, match='heads'):
        DDFConv2d(8, 8, 3, heads=2)


@pytest.mark.parametrize(('out_channels', 'pointwise'), [(12, False), (12, True), (8, True)])
@pytest.mark.parametrize('bias', [True, False])
def test_a_pointwise_convolution_follows(out_channels: int, pointwise: bool, bias: bool) -> None:
    conv = DDFConv2d(8, out_channels, 3, padding=1, bias=bias, pointwise=pointwise)
    pack = DDFPack(8)
    state = conv.state_dict()
    weight = state.pop('pointwise.weight')
    added = state.pop('bias') if bias else torch.zeros(out_channels)
    pack.load_state_dict(state, strict=True)
    if bias:
        with torch.no_grad():
            conv.bias.copy_(torch.arange(out_channels))
        added = torch.arange(out_channels)
    x = features(2, 8, 5, 6)
    mixed = torch.einsum('oc,bchw->bohw', weight[:, :, 0, 0], pack(x))
    torch.testing.assert_close(conv(x), mixed + added.view(1, -1, 1, 1))


def test_bias_is_on_the_output() -> None:
    conv = DDFConv2d(8, 8, 3, padding=1)
    x = features(2, 8, 5, 6)
    without = conv(x)
    bias = torch.randn(8)
    with torch.no_grad():
        conv.bias += bias
    torch.testing.assert_close(conv(x), without + bias.view(1, -1, 1, 1))


@pytest.mark.parametrize('kernel_size', [1, (1, 1), [1, 1]], ids=str)
@pytest.mark.parametrize('groups', [1, 2])
def test_kernel_1_is_a_plain_convolution(kernel_size: Any, groups: int) -> None:
    conv = DDFConv2d(8, 12, kernel_size, stride=2, padding=1, groups=groups, bias=False, head=2)
    assert type(conv) is nn.Conv2d
    assert {k: tuple(v.shape) for k, v in conv.state_dict().items()} == {
        'weight': (12, 8 // groups, 1, 1)
    }
    x = features(2, 8, 5, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight, None, 2, 1, 1, groups))


def test_depthwise_stays_depthwise() -> None:
    conv = DDFConv2d(8, 8, 3, padding=1, groups=8, bias=False, pointwise=True)
    assert list(conv.state_dict()) == list(DDFPack(8).state_dict())


@pytest.mark.parametrize('padding', [0, 1, 2, 3, 5, (0, 3)], ids=str)
@pytest.mark.parametrize('stride', [1, 2, 3])
@pytest.mark.parametrize(('kernel_size', 'dilation'), [(3, 1), (3, 2), (5, 1), (7, 1)])
@pytest.mark.parametrize('size', [(13, 16), (14, 13)], ids=str)
def test_sizes_and_positions_are_a_convolutions(
    kernel_size: int, dilation: int, stride: int, padding: Any, size: tuple[int, int]
) -> None:
    """With the spatial branch alone it is local: compare with all taps, written out on the pad."""
    conv = DDFConv2d(4, 4, kernel_size, stride, padding, dilation, bias=False, branches='spatial')
    x = features(1, 4, *size)
    output = conv(x)
    plain = nn.Conv2d(4, 4, kernel_size, stride, padding, dilation)
    assert output.shape == plain(x).shape

    top, left = (padding, padding) if isinstance(padding, int) else padding
    reach = kernel_size // 2 * dilation
    margin = 5 + reach
    wide = F.pad(x, (margin,) * 4)
    s = conv.spatial_branch
    filters = authors.FilterNorm(1, kernel_size, 'relu')(F.conv2d(wide, s[0].weight, s[0].bias))
    ones = torch.ones(1, 4, kernel_size**2)
    full = authors.ddf(wide, ones, filters, kernel_size, dilation, 1, 'mul')
    first = (margin + reach - top, margin + reach - left)
    expected = full[:, :, first[0] :: stride, first[1] :: stride]
    expected = expected[:, :, : output.shape[2], : output.shape[3]]
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4)


def test_attributes_of_a_convolution() -> None:
    conv = DDFConv2d(8, 12, 3, 2, 1)
    plain = nn.Conv2d(8, 12, 3, 2, 1)
    for name in ('in_channels', 'out_channels', 'groups', 'transposed', 'output_padding'):
        assert getattr(conv, name) == getattr(plain, name), name
    for name in ('kernel_size', 'stride', 'padding', 'dilation'):
        value = getattr(conv, name)
        assert getattr(plain, name) == ((value, value) if isinstance(value, int) else value), name
    assert conv.bias.shape == (12,)
    assert DDFConv2d(8, 8, 3, bias=False).bias is None


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ((8, 8, 3, 1, 1, 1, 2), 'groups'),
        ((8, 12, 3, 1, 1, 1, 8), 'out_channels'),
        ((8, 8, (3, 5)), 'kernel_size'),
        ((8, 8, 4), 'kernel_size'),
        ((8, 8, 3, (1, 2)), 'stride'),
        ((8, 8, 3, 1, 1, (1, 2)), 'dilation'),
        ((8, 8, (3, 3, 3)), 'kernel_size'),
        ((8, 8, 3, 0), 'stride'),
        ((8, 8, 3, 1, -1), 'padding'),
        ((0, 8, 3), 'in_channels'),
        ((8, -8, 3), 'out_channels'),
    ],
)
def test_bad_arguments(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f'^{name}: expected .*got'):
        DDFConv2d(*arguments)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        ((8, 8, 3.0), 'kernel_size'),
        ((8, 8, None), 'kernel_size'),
        ((8, 8, 3, 1, 'same'), 'padding'),
        ((8, 8, 3, True), 'stride'),
        ((8, 8, 3, 1, 1, 1.5), 'dilation'),
        ((8, 8, 3, 1, 1, 1, None), 'groups'),
        (('8', 8, 3), 'in_channels'),
    ],
)
def test_arguments_of_another_type(arguments: tuple[Any, ...], name: str) -> None:
    with pytest.raises(TypeError, match=f'^{name}: expected .*got'):
        DDFConv2d(*arguments)


def test_input_too_small() -> None:
    with pytest.raises(ValueError, match=r'^x: '):
        DDFConv2d(8, 8, 5)(torch.zeros(1, 8, 4, 9))


def test_layers_need_torch_alone() -> None:
    """Nothing of OpenMMLab is imported, and none of it has to be there."""
    script = (
        'import sys\n'
        'for name in ("mmengine", "mmcv", "mmseg", "cv2"):\n'
        '    sys.modules[name] = None\n'
        'import torch, ddf_seg.layers as layers\n'
        'x = torch.zeros(1, 8, 4, 4)\n'
        'layers.DDFPack(8)(x), layers.DDFUpPack(8)(x)\n'
        'layers.DDFConv2d(8, 12, 3)(x), layers.DDFUpsample(8)(x)\n'
    )
    subprocess.run([sys.executable, '-c', script], check=True)
