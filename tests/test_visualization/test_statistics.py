"""Statistics of filters against closed forms, loops and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddf_seg.visualization import statistics
from ddf_seg.visualization.basis import FilterBasis, Moments, coordinates_to_rgb


def single(values):
    """A filter as a map of one pixel, (kh, kw, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32)[..., None, None]


LINE = [[0.0, 0, 0], [1, 1, 1], [0, 0, 0]]
DIAGONAL = [[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]
CENTRE = [[0.0, 0, 0], [0, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    ('values', 'norm', 'entropy'),
    [
        (CENTRE, 2.0, 0.0),
        (np.full((3, 3), -1.0), 3.0, 1.0),
        (LINE, math.sqrt(3), 0.5),
        (np.zeros((3, 3)), 0.0, 0.0),
        (np.full((1, 1), 3.0), 3.0, 0.0),
        (np.full((5, 3), 0.2), 0.2 * math.sqrt(15), 1.0),
    ],
)
def test_norm_and_entropy(values, norm, entropy):
    filters = single(np.asarray(values))
    assert statistics.norm(filters).item() == pytest.approx(norm)
    assert statistics.entropy(filters).item() == pytest.approx(entropy)


@pytest.mark.parametrize(
    ('values', 'degrees'), [(LINE, 0), (DIAGONAL, 45), (np.transpose(LINE), 90)]
)
@pytest.mark.parametrize('sign', [1, -1])
def test_direction_of_a_line(values, degrees, sign):
    filters = single(sign * np.asarray(values))
    anisotropy, direction = statistics.orientation(filters)
    assert anisotropy.item() > 0.3
    assert math.degrees(direction.item()) % 180 == pytest.approx(degrees, abs=1e-3)
    # Mirrored, it leans the other way.
    mirrored = statistics.orientation(filters.flip(1))[1]
    assert math.degrees(mirrored.item()) % 180 == pytest.approx(-degrees % 180, abs=1e-3)


def test_an_edge_filter_smooths_along_its_edge():
    sobel = np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    anisotropy, direction = statistics.orientation(single(sobel))
    assert anisotropy.item() > 0.3
    assert math.sin(direction.item()) == pytest.approx(0, abs=1e-4)


def test_what_has_no_direction():
    for values in (CENTRE, np.ones((3, 3)), np.zeros((3, 3))):
        assert statistics.orientation(single(values))[0].item() == pytest.approx(0, abs=1e-6)


def test_maps_keep_groups_and_pixels():
    filters = torch.randn(2, 3, 3, 4, 5)
    entropy = statistics.entropy(filters)
    anisotropy, direction = statistics.orientation(filters)
    for values in (statistics.norm(filters), entropy, anisotropy, direction):
        assert values.shape == (2, 4, 5)
    one = filters[1, :, :, 2, 3][..., None, None]
    assert statistics.entropy(one).item() == pytest.approx(entropy[1, 2, 3].item())
    assert statistics.orientation(one)[1].item() == pytest.approx(direction[1, 2, 3].item())


def test_similarity_is_the_cosine():
    filters = torch.randn(2, 3, 3, 4, 5)
    filters[..., 0, 0] = 0
    found = statistics.similarity(filters, 1, 2)
    mine = filters[..., 1, 2].flatten()
    for y in range(4):
        for x in range(5):
            expected = F.cosine_similarity(mine, filters[..., y, x].flatten(), dim=0)
            assert found[y, x].item() == pytest.approx(expected.item(), abs=1e-5)


def test_filters_of_classes():
    filters = torch.randn(3, 3, 4, 5)
    labels = torch.full((4, 5), -1)
    labels[0] = 3
    labels[2:] = 1
    found = statistics.class_filters(filters, labels)
    assert [(item.index, item.pixels) for item in found] == [(1, 10), (3, 5)]
    own = filters[:, :, 0].numpy()
    np.testing.assert_allclose(found[1].mean, own.mean(-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1].spread, own.std(-1), rtol=1e-4, atol=1e-6)


def test_sorted_channels_stand_beside_their_like():
    kinds = torch.randn(3, 9)
    kind = torch.randint(3, (40,))
    filters = (kinds[kind] + 0.01 * torch.randn(40, 9)).view(1, 40, 3, 3)
    order = statistics.sort_channels(filters)
    assert sorted(order.tolist()) == list(range(40))
    assert int((kind[order].diff() != 0).sum()) == len(kind.unique()) - 1
    assert statistics.sort_channels(torch.randn(4, 1, 3, 3)).tolist() == [0]


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('kernel', [(3, 3), (5, 3)])
def test_bilinear_weights_interpolate(scale, kernel):
    image = torch.randn(1, 1, 7, 8)
    expected = F.interpolate(image, scale_factor=scale, mode='bilinear', align_corners=False)
    weights = statistics.bilinear_weights(scale, kernel).view(scale, scale, *kernel)
    half = kernel[0] // 2, kernel[1] // 2
    for y in range(2 * scale, 5 * scale):
        for x in range(2 * scale, 6 * scale):
            row, column = y // scale, x // scale
            patch = image[0, 0, row - half[0] :, column - half[1] :][: kernel[0], : kernel[1]]
            found = (weights[y % scale, x % scale] * patch).sum()
            assert found.item() == pytest.approx(expected[0, 0, y, x].item(), abs=1e-5)


def test_principal_components():
    torch.manual_seed(0)
    mixing = torch.randn(18, 18) * torch.linspace(3, 0.1, 18)
    maps = [(mixing @ torch.randn(18, h * 10) + 1).view(2, 3, 3, h, 10) for h in (20, 30)]
    basis = FilterBasis.fit(maps)
    rows = np.concatenate([m.flatten(3).flatten(0, 2).numpy() for m in maps], 1).T
    _, singular, axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    share = singular**2 / (singular**2).sum()
    np.testing.assert_allclose(basis.explained, share[:3], rtol=1e-3)
    found = np.concatenate([basis.coordinates(m).flatten(1).numpy() for m in maps], 1)
    expected = axes[:3] @ (rows - rows.mean(0)).T
    expected /= expected.std(1, keepdims=True)
    signs = np.sign((found * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(found, signs * expected, atol=2e-3)


def test_a_basis_that_grows_is_the_same():
    maps = [torch.randn(1, 3, 3, 4, 5), torch.randn(1, 3, 3, 6, 7)]
    moments = Moments()
    for x in maps:
        moments.add(x)
    torch.testing.assert_close(moments.basis().components, FilterBasis.fit(maps).components)
    with pytest.raises(ValueError, match='alike in groups and kernel size'):
        FilterBasis.fit([torch.zeros(1, 3, 3, 2, 2), torch.zeros(1, 5, 5, 2, 2)])


def test_filters_that_do_not_vary_are_of_one_colour():
    colours = FilterBasis.fit([torch.full((1, 3, 3, 4, 5), 0.3)]).colours(
        torch.full((1, 3, 3, 4, 5), 0.3)
    )
    assert (colours == colours[0, 0]).all()
    assert np.ptp(colours[0, 0].astype(int)) <= 1


def test_lightness_tells_the_first_component_without_hue():
    steps = np.zeros((3, 1, 9))
    steps[0, 0] = np.linspace(-3, 3, 9)
    grey = coordinates_to_rgb(steps)[0].astype(int)
    assert (np.ptp(grey, axis=1) <= 1).all()
    assert (np.diff(grey.sum(1)) >= 0).all()
    assert grey.sum(1)[-1] - grey.sum(1)[0] > 300
