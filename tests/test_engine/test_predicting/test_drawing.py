"""What is drawn over an image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from ddf_seg.engine.predicting.drawing import (
    Drawing,
    clear_palette,
    doubt_colours,
    entropy_of,
    outlines_of,
    seen_colours,
)

NAMES = ['road', 'traffic light', 'pole']
PALETTE = np.array([[128, 64, 128], [250, 170, 30], [153, 153, 153]], np.uint8)
IDS = np.array([[0, 0, 1, 1, 0, 0]] * 4 + [[0] * 6] * 2)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)


@pytest.fixture
def logits():
    return torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(0)).numpy() * 3


def test_only_some_classes_and_their_outlines(picture):
    drawing = Drawing(NAMES, PALETTE, 1.0, only=frozenset([1]))
    drawn = drawing(picture, IDS)
    light = IDS == 1
    assert (drawn[light] == PALETTE[1, ::-1]).all()
    assert (drawn[~light] == picture[~light]).all()
    lined = Drawing(NAMES, PALETTE, 1.0, only=frozenset([1]), outlines=True)
    dark = (lined(picture, IDS) == 20).all(2)
    # Left of it, at its right end, and in its last row
    expected = np.zeros((6, 6), bool)
    expected[:4, [1, 3]] = True
    expected[3, 2] = True
    assert (dark == expected).all()


def test_doubt_is_the_entropy(picture, logits):
    found = entropy_of(logits)
    share = torch.softmax(torch.from_numpy(logits), 0).numpy()
    np.testing.assert_allclose(found, entropy(share) / np.log(3), atol=1e-5)
    # A single one is the foreground's.
    single = entropy_of(np.array([[[0.0, 50.0, 2.0]]]))
    p = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(single, [[1, 0, entropy([p, 1 - p]) / np.log(2)]], atol=1e-5)
    steps = np.rint(255 * found).astype(np.uint8)
    drawn = Drawing(NAMES, PALETTE, 1.0, 'doubt')(picture, IDS, steps)
    assert (drawn == doubt_colours(steps / 255)).all()
    # Darker where it is sure
    shades = doubt_colours(np.linspace(0, 1, 20)[None]).astype(int).sum(2)[0]
    assert (np.diff(shades) > 0).all()


def test_a_large_image_is_drawn_as_a_small_one():
    """Which is done by bands of rows."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1100, 40, 3), dtype=np.uint8)
    ids = rng.integers(0, 3, (1100, 40), dtype=np.uint8)
    drawn = Drawing(NAMES, PALETTE, 0.25, outlines=True, only=frozenset([0, 2]))(picture, ids)
    expected = np.rint(0.75 * picture + 0.25 * PALETTE[ids][..., ::-1])
    expected[ids == 1] = picture[ids == 1]
    differ = np.abs(drawn - expected).max(2) > 1
    assert (differ <= outlines_of(ids)).all()
    assert (drawn[outlines_of(ids)] == 20).all()


@pytest.mark.parametrize('width', [40, 480])
def test_a_legend_below_the_image(width):
    picture = np.zeros((30, width, 3), np.uint8)
    ids = np.zeros((30, width), np.uint8)
    ids[:, width // 2 :] = 2
    drawing = Drawing(NAMES, PALETTE, 1.0, legend=True)
    drawn = drawing(picture, ids)
    assert drawn.shape[1:] == (width, 3)
    legend = drawn[30:].reshape(-1, 3)
    counts = [(legend == colour[::-1]).all(1).sum() for colour in PALETTE]
    assert counts[0] > 80
    assert counts[1] == 0
    assert counts[2] > 80
    # Names are written, dark on white.
    assert (legend < 60).all(1).sum() > 20
    # All frames of a video have one size.
    assert (drawing(picture, ids * 0, all_classes=True).shape
            == drawing(picture, ids, all_classes=True).shape)  # fmt: skip
    doubt = Drawing(NAMES, PALETTE, 1.0, 'doubt', legend=True)
    assert doubt(picture, ids, ids).shape[0] > 30


def test_clear_colours_differ_to_all_eyes():
    """At least 12 in CIELAB, where a difference of 2.3 is just seen; CamVid's have 2 or less."""
    for number in (11, 19):
        seen = seen_colours(clear_palette(number))
        distances = np.linalg.norm(seen[:, :, None] - seen[:, None], axis=3)
        distances[:, np.arange(number), np.arange(number)] = np.inf
        assert distances.min() > 12
    # A red and a green of the same lightness: apart for most eyes, not for those without red cones.
    seen = seen_colours(np.array([[210, 60, 40], [108, 108, 40]], np.uint8))
    apart = np.linalg.norm(seen[:, 0] - seen[:, 1], axis=1)
    assert apart[0] > 2.5 * apart[1:].min()
