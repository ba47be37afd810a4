"""DDF heads and neck against their parents in mmseg.

Where dynamic filters count nothing, ours must give the same as the parent, and only there. By
default they start so. Where the paper's channel filters are 0, joint DDF-Up adds nothing to the
interpolation; the parent then has our layers in place of its 3×3 convolutions.
"""

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from ddf_forms import PAPER, both_forms, with_and_without_filters, without_gradient
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.utils import Upsample
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ddf_seg.decoders.upsampling import GuidedUpsample, ResidualFusion
from ddf_seg.layers import DDFPack, DDFUpPack

CHANNELS = [6, 8, 10, 12]
CROP, KITTI, CAMVID = (769, 769), (375, 1242), (360, 480)
SIZES = [CROP, KITTI, CAMVID]


def pyramid(size, strides=(4, 8, 16, 32), channels=CHANNELS, batch=1):
    """A backbone's levels, whose sizes round up."""
    return [
        torch.randn(batch, c, *(-(-side // stride) for side in size))
        for c, stride in zip(channels, strides, strict=True)
    ]


def build(type, **kwargs):
    return MODELS.build(dict(type=type, norm_cfg=dict(type='BN'), **kwargs))


def head(type, levels=4, **kwargs):
    arguments = dict(
        in_channels=CHANNELS[:levels], in_index=list(range(levels)), channels=8, num_classes=5,
        dropout_ratio=0.0, align_corners=False,
    )  # fmt: skip
    return build(type, **{**arguments, **kwargs}).eval()


def aspp(type, **kwargs):
    return head(type, in_channels=12, in_index=3, dilations=(1, 3, 6), **kwargs)


def assert_takes_after(parent, ours, inputs, form, transplant=()):
    """The parent equals ours where filters count nothing, but not where they do.

    Args:
        transplant: the layers that the parent is given in the paper's form.
    """
    for name in transplant if form == PAPER else ():
        setattr(parent, name, getattr(ours, name))
    left = parent.load_state_dict(ours.state_dict(), strict=False)
    assert not left.missing_keys
    dynamic, static = with_and_without_filters(ours, lambda: ours(inputs))
    with torch.no_grad():
        expected = parent(inputs)
    torch.testing.assert_close(static, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(dynamic, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('align_corners', [False, True])
@both_forms
def test_segformer_head(form, size, align_corners):
    kwargs = dict(levels=2, align_corners=align_corners)
    parent, ours = head('SegformerHead', **kwargs), head('DDFSegformerHead', ddf_cfg=form, **kwargs)
    assert_takes_after(parent, ours, pyramid(size)[:2], form)


UPER_LAYERS = ('bottleneck', 'fpn_convs', 'fpn_bottleneck')


@pytest.mark.parametrize('size', SIZES)
@both_forms
def test_uper_head(form, size):
    kwargs = dict(levels=2, pool_scales=(1, 2))
    parent, ours = head('UPerHead', **kwargs), head('DDFUPerHead', ddf_cfg=form, **kwargs)
    assert_takes_after(parent, ours, pyramid(size)[:2], form, UPER_LAYERS)


@both_forms
def test_uper_head_on_a_dilated_backbone(form):
    """Three levels of one stride: DDF-Up only where the stride changes."""
    strides = (4, 8, 8, 8)
    parent, ours = head('UPerHead'), head('DDFUPerHead', ddf_cfg=dict(strides=strides, **form))
    assert sum(isinstance(m, DDFUpPack) for m in ours.modules()) == 2
    assert_takes_after(parent, ours, pyramid((97, 131), strides), form, UPER_LAYERS)


@pytest.mark.parametrize('strides', [(4, 8, 16, 32), (4, 8, 8, 16), (4, 4, 16, 16)])
@both_forms
def test_fpn_head(form, strides):
    parent = head('FPNHead', feature_strides=strides)
    ours = head('DDFFPNHead', feature_strides=strides, ddf_cfg=form)

    def climb(level):
        ascent = ours.scale_heads[level]
        layers = []
        for i, refine in enumerate(ascent.refinements):
            layers.append(refine)
            if i < len(ascent.upsamples):
                factor = ascent.upsamples[i].scale_factor
                layers.append(Upsample(None, factor, 'bilinear', False))
        return nn.Sequential(*layers)

    if form == PAPER:
        parent.scale_heads = nn.ModuleList(climb(level) for level in range(4))
    inputs = pyramid((128, 192), strides)
    dynamic, static = with_and_without_filters(ours, lambda: ours(inputs))
    with torch.no_grad():
        parent.load_state_dict(ours.state_dict(), strict=False)
        expected = parent(inputs)
    torch.testing.assert_close(static, expected, rtol=1e-4, atol=1e-4)
    assert (dynamic - expected).abs().max() > 1e-2


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('strides', [(4, 8), (4, 16), (4, 4)])
@both_forms
def test_aspp_head_with_the_first_level(form, size, strides):
    kwargs = dict(c1_in_channels=6, c1_channels=4)
    fine, coarse = strides
    inputs = pyramid(size, (fine, coarse, coarse, coarse))
    ours = aspp('DDFASPPHead', ddf_cfg=dict(strides=strides, **form), **kwargs)
    parent = aspp('DepthwiseSeparableASPPHead', **kwargs)
    layers = ('aspp_modules', 'bottleneck', 'sep_bottleneck')
    if fine < coarse or form != PAPER:
        assert_takes_after(parent, ours, inputs, form, layers)
    else:
        for name in layers:
            setattr(parent, name, getattr(ours, name))
        parent.load_state_dict(ours.state_dict())
        torch.testing.assert_close(ours(inputs), parent(inputs))


def test_aspp_head_without_the_first_level():
    inputs = pyramid(CAMVID)
    assert_takes_after(aspp('ASPPHead'), aspp('DDFASPPHead'), inputs, {})
    ours, parent = aspp('DDFASPPHead', ddf_cfg=PAPER), aspp('ASPPHead')
    for name in ('aspp_modules', 'bottleneck'):
        setattr(parent, name, getattr(ours, name))
    parent.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(inputs), parent(inputs))


def test_aspp_branches_are_dilated():
    branches = aspp('DDFASPPHead', ddf_cfg=PAPER).aspp_modules
    dilations = [[m.dilation for m in b.modules() if isinstance(m, DDFPack)] for b in branches]
    assert dilations == [[], [3], [6]]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(
    'kwargs',
    [
        dict(num_outs=4),
        dict(num_outs=5),
        dict(num_outs=3, start_level=1),
        dict(num_outs=2, end_level=2),
        dict(num_outs=6, add_extra_convs='on_input', relu_before_extra_convs=True),
        dict(num_outs=5, add_extra_convs='on_lateral', start_level=1),
        dict(num_outs=6, add_extra_convs='on_output', act_cfg=dict(type='ReLU')),
        dict(num_outs=4, upsample_cfg=dict(mode='bilinear', align_corners=False)),
    ],
)
@both_forms
def test_fpn(form, size, kwargs):
    kwargs = dict(in_channels=CHANNELS, out_channels=8, **kwargs)
    parent, ours = build('FPN', **kwargs).eval(), build('DDFFPN', ddf_cfg=form, **kwargs).eval()
    assert_takes_after(parent, ours, pyramid(size), form)


def test_fusion_lets_every_map_climb_level_by_level():
    torch.manual_seed(0)
    fusion = ResidualFusion(8, [2, 1, 2], dict(mode='bilinear', align_corners=False), PAPER)
    maps = pyramid((35, 61), (1, 2, 2, 4), [8] * 4)
    first, _, last = fusion.upsamples
    expected = [
        maps[0],
        first(maps[1], maps[0]),
        first(maps[2], maps[0]),
        first(last(maps[3], maps[2]), maps[0]),
    ]
    torch.testing.assert_close(fusion(maps), torch.cat(expected, 1))


HEADS = [
    dict(type='DDFUPerHead', pool_scales=(1, 2)),
    dict(type='DDFUPerHead', pool_scales=(1, 2), ddf_cfg=dict(strides=[4, 8, 16, 32], head=2)),
    dict(type='DDFSegformerHead', ddf_cfg=dict(kernel_combine='add')),
    dict(type='DDFFPNHead', feature_strides=[4, 8, 16, 32], ddf_cfg=dict(kernel_size=5)),
    dict(type='DDFASPPHead', in_channels=12, in_index=3, dilations=(1, 2)),
    dict(
        type='DDFASPPHead', in_channels=8, in_index=1, dilations=(1, 2), c1_in_channels=6,
        c1_channels=4,
    ),
]  # fmt: skip


def in_form(cfg, form):
    return {**cfg, 'ddf_cfg': {**form, **cfg.get('ddf_cfg', {})}}


@pytest.mark.parametrize('cfg', HEADS)
@pytest.mark.parametrize('size', SIZES)
@both_forms
def test_heads_take_levels_that_round_up(form, cfg, size):
    module = head(**in_form(cfg, form))
    fine = 4 if isinstance(module.in_channels, list) or module.sep_bottleneck is not None else 32
    with torch.no_grad():
        out = module(pyramid(size))
    assert tuple(out.shape) == (1, 5, *(-(-side // fine) for side in size))
    assert out.isfinite().all()


@pytest.mark.parametrize('cfg', HEADS)
@both_forms
def test_every_parameter_of_a_head_learns(form, cfg):
    torch.manual_seed(0)
    module = head(**in_form(cfg, form), channels=32).train()
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 128, 128))))
    inputs = pyramid((128, 128), batch=2)
    assert not without_gradient(
        module, lambda: module.loss(inputs, [sample, sample], None)['loss_ce']
    )


@both_forms
def test_every_parameter_of_the_neck_learns(form):
    torch.manual_seed(0)
    neck = build('DDFFPN', in_channels=CHANNELS, out_channels=16, num_outs=4, ddf_cfg=form)
    neck.init_weights()
    inputs = pyramid((64, 96), batch=2)
    assert not without_gradient(neck, lambda: sum(out.square().mean() for out in neck(inputs)))


@pytest.mark.parametrize(
    ('strides', 'message'), [([4, 8], 'expected 4 values'), ([4, 8, 12, 24], 'multiple')]
)
def test_strides_that_do_not_fit_the_levels_are_refused(strides, message):
    for build_one in (
        lambda: head('DDFUPerHead', ddf_cfg=dict(strides=strides)),
        lambda: head('DDFSegformerHead', ddf_cfg=dict(strides=strides)),
        lambda: build(
            'DDFFPN', in_channels=CHANNELS, out_channels=8, num_outs=4,
            ddf_cfg=dict(strides=strides),
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f'strides: .*{message}'):
            build_one()


@pytest.mark.parametrize(
    ('factor', 'guide'), [(2, (8, 8)), (2, (18, 16)), (1, (9, 8)), (4, (36, 32))]
)
def test_levels_that_do_not_fit_the_strides_are_refused(factor, guide):
    upsample = GuidedUpsample(4, 4, factor, dict(mode='nearest'), {})
    with pytest.raises(ValueError, match='strides: expected the finer of two levels'):
        upsample(torch.randn(1, 4, 8, 8), torch.randn(1, 4, *guide))


@pytest.mark.parametrize(
    ('backbone', 'strides'),
    [
        (dict(type='ResNetV1c', depth=18, base_channels=4, stem_channels=4), [4, 8, 16, 32]),
        (
            dict(
                type='ResNetV1c', depth=18, base_channels=4, stem_channels=4,
                strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True,
            ),
            [4, 8, 8, 8],
        ),
        (dict(type='MixVisionTransformer', embed_dims=4, num_heads=[1] * 4), [4, 8, 16, 32]),
        (
            dict(
                type='SwinTransformer', embed_dims=4, depths=[1] * 4, num_heads=[1] * 4,
                window_size=4,
            ),
            [4, 8, 16, 32],
        ),
    ],
)  # fmt: skip
def test_segmentors_of_mmseg_on_odd_images(backbone, strides):
    """Backbone, neck and head in one model, sliding windows over an image of odd size."""
    widths = [16, 16, 16, 16]
    decoder = dict(type='DDFUPerHead', pool_scales=(1, 2), ddf_cfg=dict(strides=strides))
    model = MODELS.build(
        dict(
            _scope_='mmseg',
            type='EncoderDecoder',
            data_preprocessor=dict(type='SegDataPreProcessor'),
            backbone=backbone,
            neck=dict(
                type='DDFFPN', in_channels=list(levels_of(backbone)), out_channels=16, num_outs=4,
                ddf_cfg=dict(strides=strides),
            ),
            decode_head=dict(
                **decoder, in_channels=widths, in_index=[0, 1, 2, 3], channels=8, num_classes=3,
                norm_cfg=dict(type='BN'), align_corners=False,
            ),
            test_cfg=ConfigDict(mode='slide', crop_size=(65, 65), stride=(40, 40)),
        )
    )  # fmt: skip
    model.eval()
    size = (75, 97)
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size, padding_size=[0] * 4)
    with torch.no_grad():
        scores = model.inference(torch.randn(1, 3, *size), [meta])
    assert scores.shape == (1, 3, *size)


def levels_of(backbone):
    return {
        'ResNetV1c': [4, 8, 16, 32],
        'MixVisionTransformer': [4, 4, 4, 4],
        'SwinTransformer': [4, 8, 16, 32],
    }[backbone['type']]
