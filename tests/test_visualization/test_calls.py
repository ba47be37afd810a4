"""What a call's filters amount to, against the networks themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from scipy.cluster.vq import kmeans2
from test_packing import make_call

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.layers import DDFUpPack
from ddf_seg.visualization import capture_filters
from ddf_seg.visualization.kinds import find_kinds
from ddf_seg.visualization.maps import filter_maps

SIZES = [((9, 11), (18, 22)), ((9, 11), (17, 22))]


def applied(call, filters, channel):
    """A channel of the features, filtered at all pixels by filters (H'·W', kh, kw)."""
    kh, kw = call.kernel_size
    around = F.unfold(call.features[:, channel : channel + 1], call.kernel_size, padding=kh // 2)
    around = around.view(kh * kw, *call.features.shape[2:])
    height, width = call.size
    r = call.scale_factor
    y = (torch.arange(height) // r).clamp(max=call.features.shape[2] - 1)
    x = (torch.arange(width) // r).clamp(max=call.features.shape[3] - 1)
    return (around[:, y][:, :, x].flatten(1).mT * filters.flatten(1)).sum(1).view(call.size)


def all_pixels(call):
    grid = torch.meshgrid(*map(torch.arange, call.size), indexing='ij')
    return [axis.flatten() for axis in grid]


@pytest.mark.parametrize(('low', 'high'), SIZES)
@pytest.mark.parametrize('normalization', ['interpolation', 'filter_norm'])
def test_effective_filters_are_all_that_a_block_does(low, high, normalization):
    """With the interpolation, the gain, and the sizes that are no multiples."""
    torch.manual_seed(0)
    block = MODELS.build(
        dict(
            type='GuidedUpsample', in_channels=6, channels=6, scale_factor=2,
            resize_cfg=dict(mode='bilinear', align_corners=False),
            ddf_cfg=dict(normalization=normalization),
        )
    )  # fmt: skip
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    x, guide = torch.randn(1, 6, *low), torch.randn(1, 6, *high)
    with torch.no_grad(), capture_filters(block) as calls:
        out = block(x, guide)
    (call,) = calls
    assert call.reference == 'interpolation'
    assert call.guided
    assert call.interpolates == call.compares == (normalization == 'interpolation')
    y, x_ = all_pixels(call)
    for channel in (0, 5):
        found = applied(call, call.effective_filters(y, x_, channel), channel)
        np.testing.assert_allclose(found, out[0, channel], atol=2e-5)
        # Interpolation's weights, beyond the border those of the pixels at it
        filters = call.reference_filters(y, x_, channel)
        plain = F.interpolate(x, size=high, mode='bilinear', align_corners=False)
        np.testing.assert_allclose(applied(call, filters, channel), plain[0, channel], atol=1e-5)


def test_maps_upsampled_alike_continue_their_interpolation():
    """Untrained, filters are interpolation from where the map came from: nothing is learned."""
    layer = DDFUpPack(4, 5, 2, joint_channels=3, normalization='interpolation', branches='spatial')
    source = torch.randn(1, 4, 6, 7)
    low = F.interpolate(source, size=(12, 14), mode='bilinear', align_corners=False)
    guide = torch.randn(1, 3, 24, 28)
    with torch.no_grad(), capture_filters(layer) as calls:
        layer.upsample_alike([low, low], [(12, 14), (6, 7)], guide)
    for call in calls:
        assert call.interpolates
        y, x = all_pixels(call)
        difference = call.effective_filters(y, x, 0) - call.reference_filters(y, x, 0)
        assert difference.abs().max() < 1e-5
    assert not torch.allclose(calls[0].spatial_filter, calls[1].spatial_filter)


def test_own_and_shared_parts_make_the_whole():
    torch.manual_seed(0)
    call = make_call((20, 26))
    own, shared = call.own_filters(), call.shared_filters()
    for y, x in [(0, 0), (7, 12), (19, 25)]:
        whole = own[..., y, x] + shared[2 * (y % 2) + x % 2]
        np.testing.assert_allclose(whole, call.spatial_filters()[..., y, x], atol=1e-6)
    means = own.unflatten(3, (10, 2)).unflatten(5, (13, 2)).mean((3, 5))
    assert means.abs().max() < 1e-6
    # Another map is another call.
    call.spatial_filter = call.spatial_filter * 2
    np.testing.assert_allclose(call.own_filters(), 2 * own, atol=1e-5)


def test_kinds_are_the_clusters():
    """Three sorts of filters, well apart, on known pixels."""
    rng = np.random.default_rng(0)
    sorts = rng.normal(size=(3, 18)).astype(np.float32)
    labels = rng.choice(3, (20, 26), p=[0.2, 0.5, 0.3])
    spatial = sorts[labels] + rng.normal(scale=0.01, size=(20, 26, 18)).astype(np.float32)
    call = make_call((20, 26), torch.from_numpy(spatial).permute(2, 0, 1)[None], scale_factor=1)
    kinds = find_kinds(call, 3)
    order = np.argsort(-np.bincount(labels.ravel()))
    assert (order[kinds.labels] == labels).all()
    np.testing.assert_allclose(kinds.shares, np.sort(np.bincount(labels.ravel()))[::-1] / 520)
    own = call.own_filters().flatten(0, 2).numpy()
    for kind in range(3):
        mean = own[:, kinds.labels == kind].mean(1)
        np.testing.assert_allclose(kinds.means[kind].flatten(), mean, atol=1e-5)
    # As good as k-means from the true means
    true = np.stack([own[:, labels == index].mean(1) for index in range(3)])
    centres, _ = kmeans2(own.reshape(18, -1).T.astype(float), true.astype(float), minit='matrix')
    np.testing.assert_allclose(kinds.means.flatten(1), centres[order], atol=1e-4)
    alike = make_call((20, 26), torch.ones(1, 18, 20, 26))
    assert find_kinds(alike) is None


def test_only_maps_that_say_something():
    torch.manual_seed(0)
    noise = make_call((40, 52), torch.randn(1, 9, 40, 52), scale_factor=1)
    assert filter_maps(noise) == []
    assert filter_maps(make_call((40, 52), torch.ones(1, 9, 40, 52))) == []
    # Stronger at the right; the lines of the filters lie level above, upright below.
    line = torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 0, 0]])
    sign = torch.tensor([1.0, -1]).repeat(20)[:, None] * torch.tensor([1.0, -1]).repeat(26)
    filters = torch.where(
        torch.arange(40)[:, None] < 20, line.view(9, 1, 1), line.mT.reshape(9, 1, 1)
    )
    filters = filters.expand(9, 40, 52) * sign * torch.linspace(1, 3, 52)
    call = make_call((40, 52), filters[None], scale_factor=1)
    maps = {item.name: item for item in filter_maps(call)}
    assert {'strength', 'direction'} <= set(maps)
    strength = maps['strength'].values
    assert (strength.diff(dim=1)[:, 1:-1] > 0).all()
    assert strength[10, 30] == pytest.approx(3**0.5 * (1 + 2 * 30 / 51), rel=0.02)
    directions = maps['direction'].values
    upright = (directions[25:] - 90).abs()
    level = torch.minimum(directions[:15], 180 - directions[:15])
    assert upright.max() < 5
    assert level.max() < 5
