"""Guided heads against their parents in mmseg, for every head that classifies a feature map.

Where dynamic filters count nothing, a guided head classifies the interpolated map. The parent's
scores, interpolated, must then be the same, since interpolation and a 1×1 convolution commute.
"""

import copy

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
import torch.nn.functional as F
from ddf_forms import PAPER, both_forms, with_and_without_filters, without_gradient
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from ddf_seg.layers import DDFPack

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
    """A gradient reaches all of DDF."""
    head.train()
    labels = samples(size)

    def loss():
        losses = head.loss(inputs, *before, labels, None)
        return sum(value for name, value in losses.items() if 'loss' in name)

    assert any('ddf' in name for name, _ in head.named_parameters())
    assert not [name for name in without_gradient(head, loss) if 'ddf' in name]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
@both_forms
def test_without_filters_the_scores_are_the_parents_interpolated(form, cfg, size):
    torch.manual_seed(0)
    parent = build(**cfg)
    ours = guided(cfg, guide_index=[0, 1], guide_channels=CHANNELS[:2], ddf_cfg=form)
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    inputs = levels(size)
    dynamic, static = with_and_without_filters(ours, lambda: main_scores(ours, inputs))
    with torch.no_grad():
        coarse = main_scores(parent, inputs)
    for guide in (inputs[1], inputs[0]):
        coarse = F.interpolate(coarse, size=guide.shape[2:], mode='bilinear')
    torch.testing.assert_close(static, coarse, rtol=1e-4, atol=1e-4)
    assert (dynamic - coarse).abs().max() > 1e-3


@pytest.mark.parametrize('cfg', HEADS, ids=lambda cfg: cfg['type'])
@both_forms
def test_upsampled_heads_learn(form, cfg):
    torch.manual_seed(0)
    head = guided(cfg, guide_index=[1], guide_channels=[12], ddf_cfg=form)
    assert_learns(head, levels((64, 96), batch=2), (64, 96))


@pytest.mark.parametrize('cfg', FINEST, ids=lambda cfg: cfg['type'])
@both_forms
def test_refined_heads_keep_their_size_and_learn(form, cfg):
    torch.manual_seed(0)
    # LRASPPHead pools by windows of 49 pixels.
    size = (784, 784) if cfg['type'] == 'LRASPPHead' else (64, 96)
    inputs = levels(size, (8, 16, 16) if cfg['type'] == 'LRASPPHead' else (4, 8, 16), batch=2)
    parent, ours = build(**cfg), guided(cfg, ddf_cfg=form)
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    # A residual without its branch is nothing but the parent. By default it starts without.
    refinement = ours.ddf_refinement
    weight = refinement.mix.bn.weight if form == PAPER else refinement.factor
    with torch.no_grad():
        if form == PAPER:
            nn.init.zeros_(weight)
        expected, static = parent(inputs), ours(inputs)
        nn.init.ones_(weight)
        dynamic = ours(inputs)
    assert dynamic.shape == expected.shape
    torch.testing.assert_close(static, expected)
    assert not torch.allclose(dynamic, expected, atol=1e-4)
    assert_learns(guided(cfg, ddf_cfg=form), inputs, size)


@both_forms
def test_a_cascade_is_given_scores_of_the_first_stage(form):
    torch.manual_seed(0)
    cfg = dict(type='OCRHead', **ONE, ocr_channels=8)
    guides = dict(guide_index=[1], guide_channels=[12], ddf_cfg=form)
    parent, ours = build(**cfg), guided(cfg, **guides)
    ours.load_state_dict(parent.state_dict(), strict=False)
    inputs = levels((64, 96), batch=2)
    before = torch.randn(2, CLASSES, *inputs[2].shape[2:])
    _, static = with_and_without_filters(ours, lambda: ours(inputs, before))
    with torch.no_grad():
        expected = F.interpolate(parent(inputs, before), size=(8, 12), mode='bilinear')
    torch.testing.assert_close(static, expected, rtol=1e-4, atol=1e-4)
    assert_learns(guided(cfg, **guides), inputs, (64, 96), before)


@pytest.mark.parametrize('type', ['FCNHead', 'PSPHead'])
@both_forms
def test_the_kernels_of_knet_act_on_the_upsampled_map(form, type):
    torch.manual_seed(0)
    generate = dict(
        type='DDFGuidedHead', head=type, guide_index=[1], guide_channels=[12], ddf_cfg=form,
        **ONE, num_classes=CLASSES, norm_cfg=dict(type='BN'),
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
@both_forms
def test_heads_of_two_and_three_branches(form, type):
    """They are given tuples while they train, one map otherwise, and initialise all themselves."""
    torch.manual_seed(0)
    cfg = dict(in_channels=16, channels=16, num_classes=CLASSES)
    parent = MODELS.build(dict(_scope_='mmseg', type=type, **cfg))
    ours = MODELS.build(dict(_scope_='mmseg', type='DDFGuidedHead', head=type, ddf_cfg=form, **cfg))
    assert not ours.load_state_dict(parent.state_dict(), strict=False).unexpected_keys
    x = torch.randn(2, 16, 8, 12)
    branches = (x[:, :8], x) if type == 'DDRHead' else (x[:, :8], x, x[:, 8:])
    assert [y.shape for y in ours.train()(branches)] == [y.shape for y in parent.train()(branches)]
    assert ours.eval()(x).shape == (2, CLASSES, 8, 12)
    ours.init_weights()
    if form == PAPER:
        pack = next(m for m in ours.modules() if isinstance(m, DDFPack))
        last, inputs = pack.channel_branch[3], pack.channel_branch[3].in_channels
    else:
        last, inputs = ours.ddf_refinement.filters_and_gate, 16
    # The deviation of torch's own uniform distribution; Kaiming's for the fan out is another.
    assert last.weight.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.15)


def test_arguments_of_the_layers_reach_them():
    cfg = dict(type='FCNHead', **ONE)
    up = guided(
        cfg, guide_index=[0], guide_channels=[6], ddf_cfg=dict(strides=[4, 16], kernel_size=7)
    )
    pack = up.ddf_upsamples[0].ddf_up
    assert (pack.scale_factor, pack.kernel_size, pack.joint_channels) == (4, 7, 6)
    assert up(levels((64, 64))).shape == (1, CLASSES, 16, 16)
    assert guided(cfg, ddf_cfg=dict(kernel_size=5)).ddf_refinement.kernel_size == 5
    paper = guided(cfg, ddf_cfg=dict(kernel_combine='add', **PAPER))
    assert paper.ddf_refinement.ddf.kernel_combine == 'add'


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='DDFGuidedHead', head='FCNHead', **ONE),
        dict(type='DDFASPPHead', dilations=(1, 3), **ONE),
    ],
    ids=lambda cfg: cfg['type'],
)
def test_arguments_that_nothing_takes_are_named(cfg):
    """Where nothing is upsampled, arguments of upsampling filters would change nothing."""
    with pytest.raises(TypeError, match='affinity_channels'):
        build(**cfg, ddf_cfg=dict(affinity_channels=8))


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


@both_forms
@pytest.mark.parametrize('type', ['FCNHead', 'DDRHead'])
def test_pretrained_weights_stay(form, type, tmp_path):
    """DDRHead initialises all convolutions itself, and mmengine's initialisation never runs."""
    cfg = dict(in_channels=16, channels=16, num_classes=CLASSES, ddf_cfg=form)
    cfg = dict(_scope_='mmseg', type='DDFGuidedHead', head=type, **cfg)
    trained = MODELS.build(cfg)
    for parameter in trained.parameters():
        parameter.data.normal_()
    weights = {f'decode_head.{key}': value for key, value in trained.state_dict().items()}
    torch.save(dict(state_dict=weights), tmp_path / 'trained.pth')
    source = dict(
        type='Pretrained', checkpoint=str(tmp_path / 'trained.pth'), prefix='decode_head.'
    )
    ours = MODELS.build(dict(cfg, init_cfg=source))
    for _ in range(2):
        ours.init_weights()
        for key, value in trained.state_dict().items():
            assert torch.equal(ours.state_dict()[key], value), key
