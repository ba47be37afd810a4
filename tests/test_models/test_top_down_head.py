"""TopDownHead: what it is made of is a choice."""

import pytest
import torch
import torch.nn.functional as F
from ddf_forms import PAPER, without_gradient
from mmseg.registry import MODELS

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.models.blocks import PlainUpsample

BN = dict(type='BN')
RESIZE = dict(mode='bilinear', align_corners=False)
STATIC = dict(upsample=dict(type='PlainUpsample'), refine=dict(type='SeparableRefinement'))
GUIDED = dict(upsample=dict(type='GuidedUpsample'), refine=dict(type='GatedRefinement'))
SPATIAL = dict(branches='spatial', **PAPER)
PAPERS = dict(
    upsample=dict(type='GuidedUpsample', ddf_cfg=SPATIAL),
    refine=dict(type='DDFRefinement', ddf_cfg=SPATIAL),
)


def build(**kwargs):
    defaults = dict(type='TopDownHead', num_classes=5, norm_cfg=BN, dropout_ratio=0.0)
    return MODELS.build({**defaults, **kwargs})


def levels(height, width, channels):
    """A backbone's levels, each half of the one before, rounded up."""
    maps = []
    for c in channels:
        maps.append(torch.randn(2, c, height, width))
        height, width = -(-height // 2), -(-width // 2)
    return maps


@pytest.mark.parametrize(('parts', 'form'), [(GUIDED, {}), (PAPERS, PAPER)])
def test_ddf_head_is_a_case_of_it(parts, form):
    arguments = dict(in_channels=[6, 8, 10], in_index=[0, 1, 2], channels=8)
    heads = (
        build(**arguments, **parts).eval(),
        build(type='DDFHead', ddf_cfg=form, **arguments).eval(),
    )
    heads[0].load_state_dict(heads[1].state_dict())
    maps = levels(17, 24, [6, 8, 10])
    torch.testing.assert_close(heads[0](maps), heads[1](maps))


def test_the_static_head_against_the_formula():
    head = build(in_channels=[3, 4], in_index=[0, 1], channels=4, norm_cfg=None, **STATIC).eval()
    fine, coarse = levels(9, 14, [3, 4])

    def conv(module, x, **kwargs):
        return F.conv2d(x, module.weight, module.bias, **kwargs)

    def refine(block, x):
        depthwise = conv(block.depthwise, x, padding=1, groups=4)
        return x + conv(block.mix.conv, depthwise).relu()

    finer, coarser = (
        conv(lateral.conv, x).relu()
        for lateral, x in zip(head.laterals, (fine, coarse), strict=True)
    )
    coarser = refine(head.refinements[1], coarser)
    raised = F.interpolate(coarser, size=(9, 14), mode='bilinear')
    expected = conv(head.conv_seg, refine(head.refinements[0], finer + raised))
    torch.testing.assert_close(head([fine, coarse]), expected)


@pytest.mark.parametrize('parts', [STATIC, GUIDED, PAPERS])
@pytest.mark.parametrize('size', [(32, 48), (45, 61)])
def test_everything_learns(parts, size):
    torch.manual_seed(0)
    head = build(in_channels=[5, 6, 8], in_index=[0, 1, 2], channels=32, **parts)
    maps = levels(*size, [5, 6, 8])
    assert head(maps).shape == (2, 5, *size)
    assert not without_gradient(head, lambda: head(maps).square().mean())


def test_a_plain_layer_is_cropped_to_the_finer_size_and_may_be_added():
    x, guide = torch.randn(1, 4, 3, 5), torch.empty(1, 2, 5, 9)
    layer = dict(type='DDFUp')
    upsample = PlainUpsample(4, 4, 2, RESIZE, layer=layer)
    torch.testing.assert_close(upsample(x, guide), upsample.layer(x)[:, :, :5, :9])
    added = PlainUpsample(4, 4, 2, RESIZE, layer=layer, residual=True)
    added.layer.load_state_dict(upsample.layer.state_dict())
    interpolated = F.interpolate(x, size=(5, 9), mode='bilinear')
    torch.testing.assert_close(added(x, guide), interpolated + added.gain * upsample(x, guide))
