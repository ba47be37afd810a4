"""DDFHead: what it takes, sizes that are no exact multiples, gradients, and its own arithmetic."""

import pytest
import torch
import torch.nn.functional as F
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
def test_output_has_the_size_of_the_finest_level(size):
    head = build(in_channels=[6, 8, 10, 12], in_index=[0, 1, 2, 3], channels=8)
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


def test_widths_may_differ_by_level_and_strides_may_skip_one():
    head = build(in_channels=[6, 10], in_index=[0, 2], channels=4, widths=[4, 8], strides=[4, 16])
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


def test_every_parameter_learns():
    torch.manual_seed(0)
    head = build(in_channels=[6, 8, 10], in_index=[0, 1, 2], channels=32)
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 64, 64))))
    losses = head.loss(levels(16, 16, [6, 8, 10]), [sample, sample], None)
    losses['loss_ce'].backward()
    still = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


@pytest.mark.parametrize('ddf_cfg', [None, dict(branches='both')])
def test_two_levels_against_the_formula(ddf_cfg):
    """The whole head written out with torch's functions and the reference operator."""
    torch.manual_seed(0)
    arguments = dict(in_channels=[3, 4], in_index=[0, 1], channels=4, norm_cfg=None)
    head = build(**arguments, ddf_cfg=ddf_cfg).eval()
    fine, coarse = levels(10, 14, [3, 4])

    def filter_norm(filters, std, taps=9):
        grouped = filters.unflatten(1, (-1, taps))
        centred = grouped - grouped.mean(2, keepdim=True)
        scaled = (centred / centred.square().sum(2, keepdim=True).div(taps - 1).sqrt()).flatten(
            1, 2
        )
        return scaled * std

    def branches(pack, x, guide, phases, gain):
        conv = pack.spatial_branch[0]
        spatial = filter_norm(F.conv2d(guide, conv.weight, conv.bias), gain / 3)
        if ddf_cfg is None:  # spatial filters alone: a product with channel filters of 1
            return torch.ones(2, phases * 4 * 9), spatial
        _, squeeze, _, excite, norm = pack.channel_branch
        pooled = x.mean((2, 3), keepdim=True)
        hidden = F.conv2d(pooled, squeeze.weight, squeeze.bias).relu()
        channel = F.conv2d(hidden, excite.weight, excite.bias, groups=phases)
        channel = filter_norm(channel, norm.std.view(1, -1, 1, 1))
        return channel, spatial

    def refine(block, x):
        channel, spatial = branches(block.ddf, x, x, 1, 2**0.5)
        filtered = reference.ddf(x, channel.view(2, 4, 3, 3), spatial)
        conv = block.mix.conv
        return x + F.conv2d(filtered, conv.weight, conv.bias).relu()

    finer, coarser = (
        F.conv2d(x, m.conv.weight, m.conv.bias).relu()
        for x, m in zip((fine, coarse), head.laterals, strict=True)
    )
    coarser = refine(head.refinements[1], coarser)
    channel, spatial = branches(head.upsamples[0].ddf_up, coarser, finer, 4, 1.0)
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
        dict(kernel_size=5),
        dict(head=2),
        dict(kernel_combine='add'),
        dict(normalization='softmax'),
        dict(branches='channel'),
    ],
)
def test_the_ablation_runs_from_the_config(ddf_cfg):
    head = build(in_channels=[6, 8], in_index=[0, 1], channels=8, ddf_cfg=ddf_cfg)
    head(levels(16, 16, [6, 8])).mean().backward()


def test_kaiming_initialisation_leaves_the_filter_branches_alone():
    """A network's init_cfg visits every convolution; the layers bring their own afterwards."""
    head = build(in_channels=8, channels=8, init_cfg=dict(type='Constant', layer='Conv2d', val=7.0))
    head.init_weights()
    assert (head.conv_seg.weight == 7).all()
    pack = head.refinements[0].ddf
    assert pack.spatial_branch[0].weight.abs().max() < 1


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_training_is_stable(dtype):
    """100 steps at a high rate: the loss falls, and filters keep the deviation they are given."""
    torch.manual_seed(0)
    head = build(in_channels=[6, 8], in_index=[0, 1], channels=16)
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
