"""Guided heads against their parents in mmseg, for every head that classifies a feature map.

Where DDF adds nothing, a guided head classifies the interpolated map. The parent's scores,
interpolated, must then be the same, since interpolation and a 1×1 convolution commute.
"""

import copy

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ddf_seg.layers import DDFPack, DDFUpPack

CLASSES = 5
CHANNELS = [6, 12, 16]
ONE = dict(in_channels=16, in_index=2, channels=16)
SEVERAL = dict(in_channels=CHANNELS, in_index=[0, 1, 2], channels=16)
UPDATE = dict(
    type='KernelUpdateHead', num_classes=CLASSES, num_heads=2, feedforward_channels=8,
    in_channels=16, out_channels=16, feat_transform_cfg=dict(act_cfg=None),
    kernel_updator_cfg=dict(
        type='KernelUpdator', in_channels=16, feat_channels=16, out_channels=16,
        act_cfg=dict(type='ReLU'), norm_cfg=dict(type='LN')),
)  # fmt: skip
HEADS = [
    dict(
        type='ANNHead', in_channels=[12, 16], in_index=[1, 2], channels=16, project_channels=8,
        query_scales=(1,), key_pool_scales=(1, 3),
    ),
    dict(type='APCHead', **ONE, pool_scales=(1, 2)),
    dict(type='CCHead', **ONE),
    dict(type='DAHead', **ONE, pam_channels=4),
    dict(type='DMHead', **ONE, filter_sizes=(1, 3)),
    dict(type='DNLHead', **ONE, reduction=2),
    dict(type='EMAHead', **ONE, ema_channels=16, num_bases=4, num_stages=2),
    dict(type='EncHead', in_channels=[12, 16], in_index=[1, 2], channels=16, num_codes=4),
    dict(type='FCNHead', **ONE),
    dict(type='GCHead', **ONE, ratio=0.25),
    dict(type='ISAHead', **ONE, isa_channels=8, down_factor=(2, 2)),
    dict(
        type='LightHamHead', in_channels=[16], in_index=[2], channels=16, ham_channels=16,
        ham_kwargs=dict(MD_R=4), norm_cfg=dict(type='GN', num_groups=4),
    ),
    dict(type='NLHead', **ONE, reduction=2),
    dict(type='PSPHead', **ONE, pool_scales=(1, 2)),
    dict(type='DepthwiseSeparableFCNHead', **ONE),
]  # fmt: skip
# What they classify is at the finest level already.
FINEST = [
    dict(
        type='LRASPPHead', in_channels=[6, 12, 16], in_index=[0, 1, 2], channels=16,
        input_transform='multiple_select', branch_channels=(4, 4),
    ),
    dict(type='SETRUPHead', **ONE, num_convs=2, up_scale=2),
    dict(
        type='SETRMLAHead', in_channels=[16, 16], in_index=[2, 2], channels=8, mla_channels=4,
        up_scale=4,
    ),
    dict(type='FCNHead', **SEVERAL, input_transform='resize_concat'),
]  # fmt: skip
SIZES = [(64, 64), (193, 193), (90, 120), (94, 311)]


def levels(size, strides=(4, 8, 16), batch=1):
    return [
        torch.randn(batch, c, *(-(-side // stride) for side in size))
        for c, stride in zip(CHANNELS, strides, strict=True)
    ]


def build(type, **kwargs):
    arguments = dict(num_classes=CLASSES, norm_cfg=dict(type='BN'))
    cfg = dict(_scope_='mmseg', type=type, **{**arguments, **kwargs})
    return MODELS.build(cfg).eval()


def guided(cfg, **kwargs):
    cfg = copy.deepcopy(cfg)
    return build('DDFGuidedHead', head=cfg.pop('type'), **kwargs, **cfg)


def main_scores(head, inputs):
    # LightHamHead draws bases.
    torch.manual_seed(1)
    scores = head(inputs)
    return scores if isinstance(scores, torch.Tensor) else scores[0]


def samples(size, batch=2):
    return [
        SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, CLASSES, (1, *size))))
        for _ in range(batch)
    ]


def assert_learns(head, inputs, size, *before):
    losses = head.train().loss(inputs, *before, samples(size), None)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    ours = {n: p for n, p in head.named_parameters() if 'ddf' in n}
    assert ours
    assert not [n for n, p in ours.items() if p.grad is None or not p.grad.any()]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
def test_without_filters_the_scores_are_the_parents_interpolated(cfg, size):
    torch.manual_seed(0)
    parent = build(**cfg)
    ours = guided(cfg, guide_index=[0, 1], guide_channels=CHANNELS[:2])
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    inputs = levels(size)
    with torch.no_grad():
        coarse = main_scores(parent, inputs)
        dynamic = main_scores(ours, inputs)
        for layer in ours.modules():
            if isinstance(layer, DDFUpPack):
                nn.init.zeros_(layer.channel_branch[-1].std)
        static = main_scores(ours, inputs)
    for guide in (inputs[1], inputs[0]):
        coarse = F.interpolate(coarse, size=guide.shape[2:], mode='bilinear')
    torch.testing.assert_close(static, coarse, rtol=1e-4, atol=1e-4)
    assert (dynamic - coarse).abs().max() > 1e-3


@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
def test_upsampled_heads_learn(cfg):
    torch.manual_seed(0)
    head = guided(cfg, guide_index=[1], guide_channels=[12])
    assert_learns(head, levels((64, 96), batch=2), (64, 96))


@pytest.mark.parametrize('cfg', FINEST, ids=lambda cfg: cfg['type'])
def test_refined_heads_keep_their_size_and_learn(cfg):
    torch.manual_seed(0)
    # LRASPPHead pools by windows of 49 pixels.
    size = (784, 784) if cfg['type'] == 'LRASPPHead' else (64, 96)
    inputs = levels(size, (8, 16, 16) if cfg['type'] == 'LRASPPHead' else (4, 8, 16), batch=2)
    parent, ours = build(**cfg), guided(cfg)
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    with torch.no_grad():
        expected, dynamic = parent(inputs), ours(inputs)
        assert dynamic.shape == expected.shape
        # A residual without its branch is nothing but the parent.
        nn.init.zeros_(ours.ddf_refinement.mix.bn.weight)
        static = ours(inputs)
    torch.testing.assert_close(static, expected)
    assert not torch.allclose(dynamic, expected, atol=1e-4)
    nn.init.ones_(ours.ddf_refinement.mix.bn.weight)
    assert_learns(ours, inputs, size)


def test_a_cascade_is_given_scores_of_the_first_stage():
    torch.manual_seed(0)
    cfg = dict(type='OCRHead', **ONE, ocr_channels=8)
    parent, ours = build(**cfg), guided(cfg, guide_index=[1], guide_channels=[12])
    ours.load_state_dict(parent.state_dict(), strict=False)
    inputs = levels((64, 96), batch=2)
    before = torch.randn(2, CLASSES, *inputs[2].shape[2:])
    with torch.no_grad():
        for layer in ours.modules():
            if isinstance(layer, DDFUpPack):
                nn.init.zeros_(layer.channel_branch[-1].std)
        expected = F.interpolate(parent(inputs, before), size=(8, 12), mode='bilinear')
        torch.testing.assert_close(ours(inputs, before), expected, rtol=1e-4, atol=1e-4)
    ours = guided(cfg, guide_index=[1], guide_channels=[12])
    assert_learns(ours, inputs, (64, 96), before)


@pytest.mark.parametrize('type', ['FCNHead', 'PSPHead'])
def test_the_kernels_of_knet_act_on_the_upsampled_map(type):
    torch.manual_seed(0)
    generate = dict(
        type='DDFGuidedHead', head=type, guide_index=[1], guide_channels=[12], **ONE,
        num_classes=CLASSES, norm_cfg=dict(type='BN'),
    )  # fmt: skip
    head = MODELS.build(
        dict(
            _scope_='mmseg', type='IterativeDecodeHead', num_stages=1,
            kernel_update_head=[UPDATE], kernel_generate_head=generate,
        )
    )  # fmt: skip
    inputs = levels((64, 96), batch=2)
    assert [tuple(scores.shape[2:]) for scores in head.train()(inputs)] == [(8, 12)] * 2
    assert_learns(head, inputs, (64, 96))


@pytest.mark.parametrize('type', ['DDRHead', 'PIDHead'])
def test_heads_of_two_and_three_branches(type):
    """They are given tuples while they train, one map otherwise, and initialise all themselves."""
    torch.manual_seed(0)
    cfg = dict(in_channels=16, channels=16, num_classes=CLASSES)
    parent = MODELS.build(dict(_scope_='mmseg', type=type, **cfg))
    ours = MODELS.build(dict(_scope_='mmseg', type='DDFGuidedHead', head=type, **cfg))
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    x = torch.randn(2, 16, 8, 12)
    branches = (x[:, :8], x) if type == 'DDRHead' else (x[:, :8], x, x[:, 8:])
    assert [y.shape for y in ours.train()(branches)] == [y.shape for y in parent.train()(branches)]
    assert ours.eval()(x).shape == (2, CLASSES, 8, 12)
    ours.init_weights()
    pack = next(m for m in ours.modules() if isinstance(m, DDFPack))
    # The deviation of torch's own uniform distribution; Kaiming's for the fan out is a third of it.
    last = pack.channel_branch[3]
    assert last.weight.std().item() == pytest.approx((3 * last.in_channels) ** -0.5, rel=0.15)


def test_arguments_of_the_layers_reach_them():
    cfg = dict(type='FCNHead', **ONE)
    up = guided(
        cfg, guide_index=[0], guide_channels=[6], ddf_cfg=dict(strides=[4, 16], kernel_size=5)
    )
    pack = up.ddf_upsamples[0].ddf_up
    assert (pack.scale_factor, pack.kernel_size, pack.joint_channels) == (4, 5, 6)
    assert up(levels((64, 64))).shape == (1, CLASSES, 16, 16)
    assert (
        guided(cfg, ddf_cfg=dict(kernel_combine='add')).ddf_refinement.ddf.kernel_combine == 'add'
    )


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        (dict(head='PSPHaed', **ONE), KeyError, "'PSPHaed' is not registered"),
        (dict(head='ResNet', **ONE), TypeError, 'expected the name of a BaseDecodeHead'),
        (
            dict(head='PointHead', in_channels=[16], in_index=[2], channels=16),
            ValueError, 'PointHead has no conv_seg',
        ),
        (
            dict(
                head='SegmenterMaskTransformerHead', in_channels=16, channels=16, num_layers=1,
                num_heads=2, embed_dims=16, norm_cfg=dict(type='LN'),
            ),
            ValueError, 'SegmenterMaskTransformerHead has no conv_seg',
        ),
        (dict(head='FCNHead', guide_index=[0], **ONE), ValueError, 'guide_channels: expected one'),
        (
            dict(
                head='FCNHead', guide_index=[0], guide_channels=[6], ddf_cfg=dict(strides=[4]),
                **ONE,
            ),
            ValueError, 'strides: expected 2 values',
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(cfg, error, message):
    with pytest.raises(error, match=message):
        build('DDFGuidedHead', **cfg)


def test_a_guide_of_another_stride_is_named():
    head = guided(dict(type='FCNHead', **ONE), guide_index=[0], guide_channels=[6])
    with pytest.raises(ValueError, match='strides: expected the finer'):
        head(levels((64, 64)))
