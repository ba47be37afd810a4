from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ddf_seg.engine.predicting.tiling import Window, place_windows, segment_windows

DIVISOR = 4


def dense(image: torch.Tensor) -> torch.Tensor:
    """Scores (5, H, W) of a small network with stride 4, which sees 15 pixels; image (3, H, W)."""
    weights = torch.Generator().manual_seed(0)
    height, width = image.shape[1:]
    x = F.pad(image[None], (0, -width % DIVISOR, 0, -height % DIVISOR))
    for channels_in, channels, stride in ((3, 8, 2), (8, 8, 2), (8, 5, 1)):
        weight = torch.randn(channels, channels_in, 3, 3, generator=weights)
        x = F.conv2d(x, weight, stride=stride, padding=1).tanh()
    return F.interpolate(x, scale_factor=4)[0, :, :height, :width]


def tiled(
    image: torch.Tensor, tile: int, overlap: int, result: tuple[int, int] | None = None
) -> np.ndarray:
    """The same, window by window; all classes, one a call."""
    size = image.shape[1:]
    rows, columns = (
        place_windows(n, tile, overlap, DIVISOR, to)
        for n, to in zip(size, result or size, strict=True)
    )

    def scores(rows: slice, columns: slice) -> np.ndarray:
        return dense(image[:, rows, columns]).numpy()

    def one(index: int) -> np.ndarray:
        choose = lambda found: found[index].copy()  # noqa: E731
        return segment_windows(scores, choose, rows, columns)

    return np.stack([one(index) for index in range(5)])


@pytest.mark.parametrize(
    ('size', 'tile', 'overlap'),
    [
        *(((97, 130), 64, 32), ((64, 64), 64, 32), ((40, 200), 64, 30), ((129, 129), 100, 44)),
        ((65, 193), 64, 32),
    ],
)
def test_windows_give_what_the_whole_gives(size: tuple[int, int], tile: int, overlap: int) -> None:
    """Where the network sees less than the pixels of a window that count for nothing."""
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(tiled(image, tile, overlap), dense(image), atol=1e-5)


@pytest.mark.parametrize('result', [(150, 333), (41, 65), (97, 260)])
def test_a_result_of_another_size(result: tuple[int, int]) -> None:
    image = torch.rand(3, 97, 130, generator=torch.Generator().manual_seed(1))
    whole = F.interpolate(dense(image)[None], result, mode='bilinear')[0]
    np.testing.assert_allclose(tiled(image, 64, 36, result), whole, atol=1e-4)


@settings(deadline=None)
@given(
    length=st.integers(1, 5000),
    tile=st.integers(1, 600),
    share=st.floats(0, 0.5),
    divisor=st.sampled_from([1, 4, 32]),
    result=st.none() | st.integers(1, 5000),
)
def test_weights_sum_to_one(
    length: int, tile: int, share: float, divisor: int, result: int | None
) -> None:
    overlap = int(share * tile)
    windows = place_windows(length, tile, overlap, divisor, result)
    total = np.zeros(result or length)
    for window in windows:
        total[window.start : window.stop] += window.weights
        assert (window.weights >= 0).all()
        assert 0 <= window.seen.start < window.seen.stop <= min(length, window.seen.start + tile)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    if tile - overlap >= divisor:
        assert all(a.seen.stop - b.seen.start >= overlap for a, b in pairwise(windows))
        assert all(window.seen.start % divisor == 0 for window in windows)
    if divisor == 1:
        lengths = {window.seen.stop - window.seen.start for window in windows}
        assert lengths == {min(tile, length)}


@pytest.mark.parametrize('overlap', [7, 30, 32, 64])
@pytest.mark.parametrize('scale', [1, 2])
def test_windows_fade_as_a_straight_line(overlap: int, scale: int) -> None:
    """At pixels' centres: 1/2 in the middle of what both windows see, of which half is faded."""
    windows = place_windows(300, 128, overlap, result=300 * scale)
    assert len(windows) > 2
    for before, behind in pairwise(windows):
        middle = scale * (behind.seen.start + before.seen.stop) / 2
        pixels = np.arange(before.outer, before.stop)
        line = 0.5 + (pixels + 0.5 - middle) / len(pixels)
        # An odd overlap puts the fade's ends between two pixels.
        off = abs((before.outer + before.stop) / 2 - middle) / len(pixels)
        assert off <= 0.5 / len(pixels)
        assert abs(len(pixels) - scale * overlap / 2) <= 1
        rising = behind.weights[: behind.inner - behind.start]
        falling = before.weights[before.outer - before.start :]
        np.testing.assert_allclose(rising, line, atol=off + 1e-6)
        np.testing.assert_allclose(falling, 1 - line, atol=off + 1e-6)
        # Both alike, seen from either side
        np.testing.assert_allclose(rising, falling[::-1], atol=1e-6)


def test_no_seam_shows() -> None:
    """Windows that disagree, each with scores of its own, fade into each other."""
    axes = [place_windows(400, 128, 64), place_windows(300, 128, 64)]
    rng = np.random.default_rng(0)
    found = segment_windows(
        lambda *_: np.full((1, 128, 128), rng.random(), np.float32),
        lambda scores: scores[0].copy(),
        *axes,
    )
    # Over 32 pixels
    assert np.abs(np.diff(found, axis=0)).max() <= 1 / 32
    assert np.abs(np.diff(found, axis=1)).max() <= 1 / 32
    assert np.ptp(found) > 0.3


def peak(height: int, columns: list[Window]) -> int:
    """Bytes that segmenting an image of this height takes beyond its class ids."""
    rows = place_windows(height, 64, 16)
    tracemalloc.start()
    ids = segment_windows(
        lambda *_: np.zeros((20, 64, 64), np.float32),
        lambda scores: scores.argmax(0).astype(np.uint8),
        rows,
        columns,
    )
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids.shape == (height, 640)
    return most - ids.nbytes


def test_memory_does_not_grow_with_the_image() -> None:
    columns = place_windows(640, 64, 16)
    low, high = peak(320, columns), peak(3200, columns)
    # Of the whole image, the scores would take 20 × 4 × 640 × height bytes: 16 and 160 MB.
    assert high < 1.1 * low < 4e6
