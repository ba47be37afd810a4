"""The layers where OpenMMLab's builders put them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip('mmengine', reason='OpenMMLab is not installed')
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

import ddf_seg.openmmlab  # noqa: F401  (registers)
from ddf_seg.layers import DDFConv2d, DDFPack, DDFUpPack, DDFUpsample, FilterNorm

# After our mends: mmseg does not import without them.
from mmcv.cnn import ConvModule, build_conv_layer, build_upsample_layer  # isort: skip
from mmengine.registry import MODELS  # isort: skip


def features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_names() -> None:
    expected = {
        'DDF': DDFConv2d,
        'DDFUp': DDFUpsample,
        'DDFPack': DDFPack,
        'DDFUpPack': DDFUpPack,
        'FilterNorm': FilterNorm,
    }
    assert {name: MODELS.get(name) for name in expected} == expected


def test_build_conv_layer() -> None:
    conv = build_conv_layer({'type': 'DDF', 'head': 2}, 8, 12, 3, stride=2, padding=1, bias=False)
    assert isinstance(conv, DDFConv2d)
    assert conv.spatial_branch[0].out_channels == 18
    assert conv(features(1, 8, 7, 9)).shape == (1, 12, 4, 5)
    assert type(build_conv_layer({'type': 'DDF'}, 8, 12, 1)) is nn.Conv2d


def test_build_upsample_layer() -> None:
    layer = build_upsample_layer({'type': 'DDFUp', 'channels': 8, 'scale_factor': 4})
    assert isinstance(layer, DDFUpsample)
    assert layer(features(1, 8, 3, 5)).shape == (1, 8, 12, 20)


@pytest.mark.parametrize('norm_cfg', [{'type': 'BN'}, {'type': 'GN', 'num_groups': 2}, None])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('out_channels', [8, 12])
def test_conv_module(norm_cfg: Any, stride: int, out_channels: int) -> None:
    module = ConvModule(
        8, out_channels, 3, stride, padding=1, conv_cfg={'type': 'DDF'}, norm_cfg=norm_cfg
    )
    plain = ConvModule(8, out_channels, 3, stride, padding=1, norm_cfg=norm_cfg)
    assert (module.conv.bias is None) == (plain.conv.bias is None)
    for name in ('in_channels', 'out_channels', 'groups', 'transposed', 'output_padding'):
        assert getattr(module, name) == getattr(plain, name)
    x = features(2, 8, 9, 7)
    output = module(x)
    assert output.shape == plain(x).shape
    convolved = module.conv(x)
    expected = torch.relu(module.norm(convolved) if norm_cfg else convolved)
    torch.testing.assert_close(output, expected)
    output.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_upsample_with_projection() -> None:
    """mmseg's UNet passes in_channels, out_channels, with_cp, norm_cfg and act_cfg."""
    layer = build_upsample_layer(
        {'type': 'DDFUp'},
        in_channels=12,
        out_channels=8,
        with_cp=True,
        norm_cfg={'type': 'BN'},
        act_cfg={'type': 'ReLU'},
    ).eval()
    pack = DDFUpPack(8)
    state = layer.state_dict()
    projected = [key for key in state if key.startswith('projection.')]
    for key in projected:
        del state[key]
    pack.load_state_dict(state, strict=True)
    assert isinstance(layer.projection, ConvModule)
    x = features(2, 12, 3, 4).requires_grad_()
    output = layer(x)
    assert output.shape == (2, 8, 6, 8)
    torch.testing.assert_close(
        output, pack(torch.relu(layer.projection.bn(layer.projection.conv(x))))
    )
    output.sum().backward()
    assert x.grad is not None


def test_in_mmsegs_unet() -> None:
    unet = pytest.importorskip('mmseg.models', reason='mmseg is not installed').UNet(
        base_channels=4,
        num_stages=3,
        strides=(1, 1, 1),
        enc_num_convs=(1, 1, 1),
        dec_num_convs=(1, 1),
        downsamples=(True, True),
        enc_dilations=(1, 1, 1),
        dec_dilations=(1, 1),
        upsample_cfg={'type': 'DDFUp'},
        with_cp=True,
    )
    assert sum(isinstance(m, DDFUpsample) for m in unet.modules()) == 2
    shapes = [tuple(o.shape) for o in unet(features(1, 3, 16, 24).requires_grad_())]
    assert shapes == [(1, 16, 4, 6), (1, 8, 8, 12), (1, 4, 16, 24)]


@pytest.mark.parametrize('depth', [18, 50])
def test_in_mmsegs_resnet(depth: int) -> None:
    """conv_cfg reaches every convolution: 7×7 stem, 3×3 with and without stride, 1×1."""
    models = pytest.importorskip('mmseg.models', reason='mmseg is not installed')
    net = models.ResNet(
        depth,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(0, 1),
        base_channels=8,
        stem_channels=8,
        conv_cfg={'type': 'DDF'},
    )
    expansion = 1 if depth == 18 else 4
    low, high = net(features(1, 3, 33, 39))
    assert low.shape == (1, 8 * expansion, 9, 10)
    assert high.shape == (1, 16 * expansion, 5, 5)
    layers = [m for m in net.modules() if isinstance(m, DDFConv2d)]
    assert {m.kernel_size for m in layers} == {3, 7}


class Network(BaseModule):
    """A network that initialises every convolution, as mmseg's ResNet does."""

    def __init__(self) -> None:
        super().__init__({'type': 'Kaiming', 'layer': 'Conv2d', 'bias': 7})
        self.plain = nn.Conv2d(8, 8, 3)
        self.conv = DDFConv2d(8, 12, 3)
        self.pack = DDFPack(8)
        self.up = DDFUpPack(8)
        self.upsample = DDFUpsample(8)


def test_layers_keep_their_own_initialisation() -> None:
    """A bias of 7 would make every filter the same constant."""
    network = Network()
    network.init_weights()
    assert (network.plain.bias == 7).all()
    for layer in (network.conv, network.pack, network.up, network.upsample):
        for name, parameter in layer.named_parameters():
            assert not (parameter == 7).any(), name
            # Linear layers start within 1 / sqrt(fan in), σ from a normal distribution.
            assert parameter.abs().max() < 3, name
