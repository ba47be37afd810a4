"""DDFHead: what it takes, sizes that are no exact multiples, gradients, and its own arithmetic."""

import pytest
import torch
import torch.nn.functional as F
from ddf_forms import PAPER, both_forms, without_gradient
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.ops import reference
from ddf_seg.visualization import capture_filters

BN = dict(type='BN')


def build(**kwargs):
    defaults = dict(num_classes=5, norm_cfg=BN, dropout_ratio=0.0)
    return MODELS.build(dict(type='DDFHead', **{**defaults, **kwargs}))


def levels(height, width, channels, batch=2):
    """A backbone's levels, each half of the one before, rounded up."""
    maps = []
    for c in channels:
        maps.append(torch.randn(batch, c, height, width))
        height, width = -(-height // 2), -(-width // 2)
    return maps


@pytest.mark.parametrize('size', [(32, 48), (45, 61), (33, 17), (16, 16)])
@both_forms
def test_output_has_the_size_of_the_finest_level(form, size):
    head = build(in_channels=[6, 8, 10, 12], in_index=[0, 1, 2, 3], channels=8, ddf_cfg=form)
    assert head(levels(*size, [6, 8, 10, 12])).shape == (2, 5, *size)


def test_levels_are_chosen_by_in_index():
    head = build(in_channels=[8, 10], in_index=[1, 2], channels=8).eval()
    maps = levels(32, 32, [6, 8, 10, 12])
    expected = head(maps)
    maps[0], maps[3] = torch.full_like(maps[0], torch.nan), torch.full_like(maps[3], torch.nan)
    torch.testing.assert_close(head(maps), expected)
    assert expected.shape == (2, 5, 16, 16)


def test_one_level_without_a_list():
    head = build(in_channels=12, in_index=-1, channels=8)
    assert head.input_transform is None
    assert head(levels(32, 32, [6, 8, 12])).shape == (2, 5, 8, 8)


@both_forms
def test_widths_may_differ_by_level_and_strides_may_skip_one(form):
    head = build(
        in_channels=[6, 10], in_index=[0, 2], channels=4, widths=[4, 8], strides=[4, 16],
        ddf_cfg=form,
    )  # fmt: skip
    maps = levels(33, 41, [6, 8, 10])
    assert head.upsamples[0].ddf_up.scale_factor == 4
    assert head(maps).shape == (2, 5, 33, 41)


@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (dict(widths=[8]), 'widths'),
        (dict(widths=[4, 8]), 'widths'),
        (dict(strides=[4, 4]), 'strides'),
        (dict(strides=[4, 6]), 'strides'),
        (dict(strides=[4]), 'strides'),
    ],
)
def test_lists_that_do_not_fit_are_refused(arguments, name):
    with pytest.raises(ValueError, match=name):
        build(in_channels=[6, 8], in_index=[0, 1], channels=8, **arguments)


@both_forms
def test_every_parameter_learns(form):
    torch.manual_seed(0)
    head = build(in_channels=[6, 8, 10], in_index=[0, 1, 2], channels=32, ddf_cfg=form)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 64, 64))))
    maps = levels(16, 16, [6, 8, 10])
    assert not without_gradient(head, lambda: head.loss(maps, [sample, sample], None)['loss_ce'])


def test_two_levels_against_the_formula():
    """The whole head written out with torch's functions, but for the upsampling."""
    torch.manual_seed(0)
    head = build(in_channels=[3, 4], in_index=[0, 1], channels=4, norm_cfg=None).eval()
    for block in head.refinements:
        torch.nn.init.normal_(block.depthwise.gated.factor)
    torch.nn.init.normal_(head.upsamples[0].ddf_up.spatial_branch.guide.weight)
    fine, coarse = levels(10, 14, [3, 4])

    def refine(block, x):
        """A static and a dynamic filter for each channel and pixel, then a 1×1 convolution."""
        gated = block.depthwise.gated
        made = F.conv2d(x, gated.filters_and_gate.weight, gated.filters_and_gate.bias)
        filters, gate = made[:, :9], made[:, 9:]
        filters = (filters - filters.mean(1, True)) / filters.std(1, keepdim=True) * 2**0.5 / 3
        filters = filters * gated.factor * gate.sigmoid()
        every = filters[:, None] + block.depthwise.weight.view(4, 9, 1, 1)
        patches = F.unfold(x, 3, padding=1).view(2, 4, 9, *x.shape[2:])
        filtered = (patches * every).sum(2) + block.depthwise.bias.view(4, 1, 1)
        return x + F.conv2d(filtered, block.mix.conv.weight, block.mix.conv.bias).relu()

    finer, coarser = (
        F.conv2d(x, m.conv.weight, m.conv.bias).relu()
        for x, m in zip((fine, coarse), head.laterals, strict=True)
    )
    raised = head.upsamples[0](refine(head.refinements[1], coarser), finer)
    assert raised.shape == finer.shape
    expected = F.conv2d(
        refine(head.refinements[0], finer + raised), head.conv_seg.weight, head.conv_seg.bias
    )
    torch.testing.assert_close(head([fine, coarse]), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize('branches', ['spatial', 'both'])
def test_two_levels_against_the_papers_formula(branches):
    """The whole head written out with torch's functions and the reference operator."""
    torch.manual_seed(0)
    ddf_cfg = dict(branches=branches, **PAPER)
    arguments = dict(in_channels=[3, 4], in_index=[0, 1], channels=4, norm_cfg=None)
    head = build(**arguments, ddf_cfg=ddf_cfg).eval()
    fine, coarse = levels(10, 14, [3, 4])

    def filter_norm(made, std, taps=9):
        grouped = made.unflatten(1, (-1, taps))
        centred = grouped - grouped.mean(2, keepdim=True)
        scaled = (centred / centred.square().sum(2, keepdim=True).div(taps - 1).sqrt()).flatten(
            1, 2
        )
        return scaled * std

    def filters(pack, x, guide, phases, gain):
        conv = pack.spatial_branch[0]
        spatial = filter_norm(F.conv2d(guide, conv.weight, conv.bias), gain / 3)
        if branches == 'spatial':  # a product with channel filters of 1
            return torch.ones(2, phases * 4 * 9), spatial
        _, squeeze, _, excite, norm = pack.channel_branch
        pooled = x.mean((2, 3), keepdim=True)
        hidden = F.conv2d(pooled, squeeze.weight, squeeze.bias).relu()
        channel = F.conv2d(hidden, excite.weight, excite.bias, groups=phases)
        channel = filter_norm(channel, norm.std.view(1, -1, 1, 1))
        return channel, spatial

    def refine(block, x):
        channel, spatial = filters(block.ddf, x, x, 1, 2**0.5)
        filtered = reference.ddf(x, channel.view(2, 4, 3, 3), spatial)
        conv = block.mix.conv
        return x + F.conv2d(filtered, conv.weight, conv.bias).relu()

    finer, coarser = (
        F.conv2d(x, m.conv.weight, m.conv.bias).relu()
        for x, m in zip((fine, coarse), head.laterals, strict=True)
    )
    coarser = refine(head.refinements[1], coarser)
    channel, spatial = filters(head.upsamples[0].ddf_up, coarser, finer, 4, 1.0)
    raised = F.interpolate(coarser, size=(10, 14), mode='bilinear', align_corners=False)
    response = reference.ddf_upsample(coarser, channel.view(2, 4, 4, 3, 3), spatial)
    raised = raised + head.upsamples[0].gain * response
    expected = F.conv2d(
        refine(head.refinements[0], finer + raised), head.conv_seg.weight, head.conv_seg.bias
    )
    torch.testing.assert_close(head([fine, coarse]), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    'ddf_cfg',
    [
        dict(kernel_size=3),
        dict(kernel_size=7),
        dict(head=2),
        dict(affinity_channels=0),
        dict(kernel_size=5, **PAPER),
        dict(head=2, **PAPER),
        dict(kernel_combine='add', **PAPER),
        dict(normalization='softmax'),
        dict(branches='channel', **PAPER),
    ],
)
def test_the_ablation_runs_from_the_config(ddf_cfg):
    head = build(in_channels=[6, 8], in_index=[0, 1], channels=8, ddf_cfg=ddf_cfg)
    head(levels(16, 16, [6, 8])).mean().backward()


def test_channel_filters_want_the_papers_form():
    arguments = dict(in_channels=[6, 8], in_index=[0, 1], channels=8)
    with pytest.raises(ValueError, match=r"'interpolation' wants .* got 'both' .*'filter_norm'"):
        build(**arguments, ddf_cfg=dict(branches='both'))


def test_initialisation_of_convolutions_leaves_the_filters_alone():
    """A network's init_cfg visits every convolution; the layers keep what they start with."""
    constant = dict(type='Constant', layer='Conv2d', val=7.0)
    arguments = dict(in_channels=[6, 8], in_index=[0, 1], channels=8, init_cfg=constant)
    head = build(**arguments)
    head.init_weights()
    assert (head.conv_seg.weight == 7).all()
    assert (head.refinements[0].depthwise.weight == 7).all()
    branch = head.upsamples[0].ddf_up.spatial_branch
    assert not branch.guide.weight.any()
    drawn = [branch.key.weight, head.refinements[0].depthwise.gated.filters_and_gate.weight]
    paper = build(**arguments, ddf_cfg=PAPER)
    paper.init_weights()
    drawn.append(paper.refinements[0].ddf.spatial_branch[0].weight)
    for weight in drawn:
        assert 0 < weight.abs().max() < 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
@both_forms
def test_training_is_stable(form, dtype):
    """100 steps at a high rate: the loss falls, and filters stay bounded."""
    torch.manual_seed(0)
    head = build(in_channels=[6, 8], in_index=[0, 1], channels=16, ddf_cfg=form)
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    labels = torch.randint(0, 5, (1, 4, 4)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
    one_hot = F.one_hot(labels[0], 5).permute(2, 0, 1).float()
    fine = torch.cat([one_hot[:5], one_hot[:1]])[None] + 0.5 * torch.randn(2, 6, 16, 16)
    maps = [fine, torch.randn(2, 8, 8, 8)]
    losses = []
    for _ in range(100):
        with torch.autocast('cpu', dtype, enabled=dtype is not torch.float32):
            loss = head.loss(maps, [sample, sample], None)['loss_ce']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert max(losses) < 4
    assert sum(losses[-10:]) / 10 < 0.1 * losses[0]
    with capture_filters(head) as calls:
        head(maps)
    assert len(calls) == 3
    for call in calls:
        assert call.spatial_filter.abs().max() < 3
        assert call.channel_filter.abs().max() < 10
