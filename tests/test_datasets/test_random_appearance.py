"""RandomAppearance: what each change does to an image, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

NOTHING = dict(gamma=0.0, gain=0.0, shade=0.0, haze=0.0, blur=0.0, noise=0.0)


def changed(image: np.ndarray, seed: int = 0, **strengths: float) -> np.ndarray:
    transform = TRANSFORMS.build(
        dict(type='RandomAppearance', prob=1.0, **{**NOTHING, **strengths})
    )
    np.random.seed(seed)  # noqa: NPY002 (the generator that mmseg seeds)
    label = np.arange(6).reshape(2, 3)
    done: dict[str, Any] = transform(dict(img=image.copy(), gt_seg_map=label, other=1))
    assert done.keys() == {'img', 'gt_seg_map', 'other'}
    assert done['gt_seg_map'] is label
    assert done['img'].dtype == np.float32
    assert done['img'].min() >= 0
    assert done['img'].max() <= 255
    return done['img']


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_without_strength_an_image_stays(image: np.ndarray) -> None:
    np.testing.assert_allclose(changed(image), image, atol=1e-3)


def test_never_is_never(image: np.ndarray) -> None:
    transform = TRANSFORMS.build(dict(type='RandomAppearance', prob=0.0))
    np.testing.assert_array_equal(transform(dict(img=image))['img'], image)


def test_gamma_keeps_the_order_and_the_ends() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    for seed in range(5):
        out = changed(ramp, seed, gamma=0.6)[0, :, 0]
        assert np.diff(out).min() >= 0
        np.testing.assert_allclose(out[[0, -1]], [0, 255], atol=1e-3)
        middle = np.log(out[128] / 255) / np.log(128 / 255)
        assert np.exp(-0.6) <= middle <= np.exp(0.6)


def test_gain_is_one_number_a_channel() -> None:
    grey = np.full((4, 5, 3), 100, np.uint8)
    out = changed(grey, gain=0.2)
    assert len(np.unique(out.round(3))) == 3
    assert np.ptp(out, axis=(0, 1)).max() == 0
    assert 80 <= out.min() <= out.max() <= 120


def test_shade_darkens_one_side_and_brightens_the_other() -> None:
    grey = np.full((50, 50, 3), 100, np.uint8)
    out = changed(grey, shade=0.5)[..., 0]
    # At opposite points the logarithms are opposite.
    np.testing.assert_allclose(out * out[::-1, ::-1], 100.0**2, rtol=1e-4)
    assert np.ptp(out) > 5


def test_haze_takes_contrast_most_at_the_top(image: np.ndarray) -> None:
    out = changed(image, seed=3, haze=0.5)
    left = out.std(axis=(1, 2)) / image.std(axis=(1, 2))
    assert left.min() + 1e-3 >= 0.5
    assert left.max() <= 1.001
    assert left[0] < left[-1]


def test_blur_keeps_the_mean_and_takes_contrast(image: np.ndarray) -> None:
    out = changed(image, blur=1.5)
    assert out.mean() == pytest.approx(image.mean(), rel=0.02)
    assert out.std() < 0.9 * image.std()


def test_noise_has_the_deviation_asked_for() -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    deviations = [changed(grey, seed, noise=12.0).std() for seed in range(8)]
    assert min(deviations) > 0
    assert max(deviations) <= 12.5


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(prob=1.5), 'prob: expected a value from 0 to 1, got 1.5'),
        (dict(haze=-0.1), 'haze: expected a value of at least 0, got -0.1'),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TRANSFORMS.build(dict(type='RandomAppearance', **arguments))
