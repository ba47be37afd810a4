"""Packed maps, unpacked by other means."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
import torch

from ddf_seg.visualization import FilterCall
from ddf_seg.visualization.explorer.packing import pack_filters, pack_rows


def unpack(packed, shape):
    values = np.frombuffer(zlib.decompress(base64.b64decode(packed['data'])), np.uint8)
    values = values.reshape(shape)
    return np.cumsum(values, axis=-1, dtype=np.uint8) if packed['difference'] else values


def make_call(size, spatial_filter=None, scale_factor=2):
    low = [-(-n // scale_factor) for n in size]
    if spatial_filter is None:
        spatial_filter = torch.randn(1, 18, *size)
    return FilterCall(
        'layer', 'ddf_upsample', torch.zeros(1, 4, *low), torch.zeros(1, 4, 4, 3, 3),
        spatial_filter, (3, 3), (1, 1), (1, 1), scale_factor, 'mul',
    )  # fmt: skip


def test_labels():
    labels = np.random.default_rng(0).integers(0, 256, (37, 41), dtype=np.uint8)
    labels[5:20, 7:30] = 4
    np.testing.assert_array_equal(unpack(pack_rows(labels), labels.shape), labels)


@pytest.mark.parametrize('smooth', [False, True])
def test_filters_come_back_within_the_stated_error(smooth):
    torch.manual_seed(0)
    spatial = torch.randn(1, 18, 40, 52)
    if smooth:
        spatial = spatial.cumsum(3) / 10
    call = make_call((40, 52), spatial)
    # Less the mean of each phase
    phases = spatial[0].view(18, 20, 2, 26, 2)
    own = (phases - phases.mean((1, 3), keepdim=True)).reshape(18, 40, 52)
    (item,) = pack_filters([call], 10**6)
    assert (item.bits, item.thinning, item.packed['difference']) == (8, 1, smooth)
    found = unpack(item.packed, (18, 40, 52)).view(np.int8) * item.scale
    errors = np.abs(found - own.numpy())
    assert errors.max() == pytest.approx(item.error, rel=1e-3)
    assert item.error <= item.scale / 2 * 1.001
    assert item.error < 0.005 * own.abs().max()


def test_a_smaller_budget_takes_bits_then_pixels():
    torch.manual_seed(0)
    calls = [make_call((40, 52)), make_call((20, 26))]
    full = sum(len(item.packed['data']) for item in pack_filters(calls, 10**6))
    fewer = pack_filters(calls, full * 3 // 4)
    assert {item.thinning for item in fewer} == {1}
    assert 4 <= fewer[0].bits < 8
    thinned = pack_filters(calls, full // 8)
    assert sum(len(item.packed['data']) for item in thinned) <= full // 8
    assert thinned[0].thinning > 1
    rows, columns = thinned[0].kept()
    found = unpack(thinned[0].packed, (18, len(rows), len(columns))).view(np.int8)
    expected = calls[0].own_filters().flatten(0, 2).numpy()[:, rows][:, :, columns]
    np.testing.assert_allclose(found * thinned[0].scale, expected, atol=thinned[0].error * 1.001)
    # All phases occur.
    assert set(rows % 2) == set(columns % 2) == {0, 1}


def test_a_budget_that_nothing_meets_ends():
    (item,) = pack_filters([make_call((5, 7))], 0)
    assert len(item.kept()[0]) == len(item.kept()[1]) == 1
