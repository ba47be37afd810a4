"""The decoders on torch alone, against mmseg's heads, whose checkpoints they take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ddf_seg.decoders import DDFDecoder, Projection
from ddf_seg.decoders.levels import layer_arguments
from ddf_seg.decoders.upsampling import GuidedUpsample, build_fusion
from ddf_seg.layers.guided_branch import GuidedBranch

CHANNELS = [6, 8, 10]
RESIZE = dict(mode='bilinear', align_corners=False)


def levels(height: int = 45, width: int = 61) -> list[Tensor]:
    """A backbone's levels, each half of the one before, rounded up."""
    maps = []
    for channels in CHANNELS:
        maps.append(torch.randn(2, channels, height, width))
        height, width = -(-height // 2), -(-width // 2)
    return maps


@pytest.mark.parametrize('ddf_cfg', [{}, dict(normalization='filter_norm')])
@pytest.mark.parametrize('norm', ['BN', None])
def test_a_checkpoint_of_mmseg_loads_and_gives_the_same(
    ddf_cfg: dict[str, Any], norm: str | None
) -> None:
    pytest.importorskip('mmseg', reason='mmseg is not installed')
    from mmseg.registry import MODELS

    import ddf_seg.openmmlab  # noqa: F401

    torch.manual_seed(0)
    norm_cfg = dict(type=norm) if norm else None
    arguments = dict(widths=[8, 12, 16], ddf_cfg=ddf_cfg, align_corners=True)
    head = MODELS.build(
        dict(type='DDFHead', in_channels=CHANNELS, in_index=[0, 1, 2], channels=8, num_classes=5,
             dropout_ratio=0.0, norm_cfg=norm_cfg, **arguments)
    )  # fmt: skip
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    decoder = DDFDecoder(
        CHANNELS,
        8,
        project=lambda c, width: Projection(c, width, nn.BatchNorm2d if norm else None),
        **arguments,
    )
    weights = {k: v for k, v in head.state_dict().items() if not k.startswith('conv_seg.')}
    decoder.load_state_dict(weights)
    maps = levels()
    for training in (True, False):
        scores = head.train(training)(maps)
        map_of_ours = decoder.train(training)(maps)
        assert map_of_ours.shape == (2, 8, 45, 61)
        torch.testing.assert_close(head.conv_seg(map_of_ours), scores)


def test_steps_of_two_see_neighbours_unless_told_otherwise() -> None:
    def seeing(module: nn.Module) -> list[bool]:
        branches = [m for m in module.modules() if isinstance(m, GuidedBranch)]
        assert branches
        return [branch.coarse is not None for branch in branches]

    assert seeing(GuidedUpsample(8, 8, 2, RESIZE)) == [True]
    assert seeing(GuidedUpsample(8, 8, 4, RESIZE)) == [False]
    assert seeing(GuidedUpsample(8, 8, 2, RESIZE, dict(context=False))) == [False]
    assert seeing(GuidedUpsample(8, 8, 4, RESIZE, dict(context=True))) == [True]
    assert seeing(DDFDecoder([6, 8], 8)) == [False]
    assert seeing(DDFDecoder([6, 8], 8, ddf_cfg=dict(context=True))) == [True]


@pytest.mark.parametrize('factors', [(2, 2, 2), (2, 1, 2)])
@pytest.mark.parametrize(
    'ddf_cfg', [{}, dict(context=False), dict(head=2), dict(normalization='filter_norm')]
)
@pytest.mark.parametrize('bias', [True, False])
def test_a_convolution_of_fused_maps(
    factors: Sequence[int], ddf_cfg: dict[str, Any], bias: bool
) -> None:
    """At each map's own size, where that is the same, or not."""
    torch.manual_seed(0)
    fusion = build_fusion(8, factors, RESIZE, layer_arguments(ddf_cfg))
    conv = nn.Conv2d(4 * 8, 5, 1, bias=bias)
    for parameter in [*fusion.parameters(), *conv.parameters()]:
        nn.init.normal_(parameter, std=0.3)
    maps = [torch.randn(2, 8, 45, 61)]
    for factor in factors:
        size = [-(-n // factor) for n in maps[-1].shape[2:]]
        maps.append(torch.randn(2, 8, *size))
    torch.testing.assert_close(fusion.convolved(maps, conv), conv(fusion(maps)))


def test_filters_that_channels_share_leave_the_finest_size_one_maps_channels() -> None:
    fusion = build_fusion(8, [2, 2], RESIZE, layer_arguments({}))
    conv = nn.Conv2d(3 * 8, 5, 1)
    maps = [torch.randn(1, 8, n, n) for n in (32, 16, 8)]
    with FlopCounterMode(display=False) as counter:
        fusion.convolved(maps, conv)
    of_convolutions = counter.get_flop_counts()['Global'][torch.ops.aten.convolution]
    with FlopCounterMode(display=False) as counter:
        fusion(maps)
    of_convolutions -= counter.get_flop_counts()['Global'].get(torch.ops.aten.convolution, 0)
    assert of_convolutions == 2 * 8 * 5 * (32**2 + 16**2 + 8**2)


def test_it_needs_torch_alone() -> None:
    code = (
        'import sys\n'
        'for name in ("mmcv", "mmengine", "mmseg", "cv2", "PIL"):\n'
        '    sys.modules[name] = None\n'
        'import torch\n'
        'from ddf_seg.decoders import DDFDecoder\n'
        'decoder = DDFDecoder([4, 8], 6)\n'
        'out = decoder([torch.ones(1, 4, 8, 12), torch.ones(1, 8, 4, 6)])\n'
        'print(tuple(out.shape))\n'
    )
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == '(1, 6, 8, 12)', result.stderr


def test_a_hosts_initialisation_leaves_what_starts_as_interpolation() -> None:
    decoder = DDFDecoder(CHANNELS, 8)
    start = decoder.state_dict()
    for module in decoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 7.0)
    decoder.init_weights()
    branches = [m for m in decoder.modules() if isinstance(m, GuidedBranch)]
    assert len(branches) == 2
    assert not any(branch.guide.weight.any() for branch in branches)
    for name in ('laterals.0.conv.weight', 'upsamples.1.ddf_up.spatial_branch.key.weight'):
        spread = decoder.state_dict()[name].std()
        assert 0.3 < spread / start[name].std() < 3


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (dict(widths=[8]), 'widths: expected 3 values'),
        (dict(widths=[4, 8, 8]), 'widths: expected to start with channels 8'),
        (dict(strides=[4, 4, 8]), 'strides: expected each above'),
        (dict(strides=[4, 6, 12]), 'strides: expected each a multiple'),
        (dict(ddf_cfg=dict(branches='both')), "'interpolation' wants branches 'spatial'"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        DDFDecoder(CHANNELS, 8, **arguments)


def test_levels_that_do_not_fit_are_refused() -> None:
    decoder = DDFDecoder(CHANNELS, 8)
    maps = levels()
    with pytest.raises(ValueError, match='levels: expected 3 maps, got 2'):
        decoder(maps[:2])
    maps[2] = torch.randn(2, 10, 20, 20)
    with pytest.raises(ValueError, match='strides: expected the finer of two levels'):
        decoder(maps)
