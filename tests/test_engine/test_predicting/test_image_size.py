"""When a network sees things far larger or smaller than in its training."""

from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmengine.config import Config

from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.predicting.image_size import training_sizes

CROP = dict(type='RandomCrop', crop_size=(64, 64))


def sizes_of(*steps: dict[str, Any]) -> Any:
    loader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), *steps, CROP]))
    return training_sizes(Config(dict(train_dataloader=loader)))


RANDOM = dict(type='RandomResize', scale=(480, 360), ratio_range=(0.75, 2.0), keep_ratio=True)


@pytest.mark.parametrize(
    ('step', 'size', 'factor'),
    [
        (RANDOM, (360, 480), 1),
        (RANDOM, (720, 960), 1),  # twice, which training has
        (RANDOM, (1000, 1300), 1),  # half as much again
        (RANDOM, (3000, 4000), 0.12),
        (RANDOM, (4000, 3000), 0.12),  # upright
        (RANDOM, (190, 250), 1),
        (RANDOM, (90, 120), 4),
        (dict(type='Resize', scale=(1280, 760)), (760, 1280), 1),
        (dict(type='Resize', scale=(1280, 760)), (1520, 2560), 0.5),
        (dict(type='RandomResize', scale=[(400, 100), (800, 200)]), (200, 800), 1),
        (dict(type='RandomResize', scale=[(400, 100), (800, 200)]), (20, 80), 10),
        (dict(type='ResizeShortestEdge', scale=512, max_size=2048), (512, 700), 1),
        (dict(type='ResizeShortestEdge', scale=512, max_size=2048), (1024, 1400), 0.5),
        (
            dict(type='RandomChoiceResize', scales=[256, 512, 1024], max_size=4096),
            (2048, 2048),
            0.25,
        ),
        (dict(type='RandomChoiceResize', scales=[(64, 32)]), (32, 64), 1),
    ],
)
def test_far_from_the_training(step: dict[str, Any], size: tuple[int, int], factor: float) -> None:
    assert sizes_of(step).factor(size) == pytest.approx(factor)


def test_a_training_that_resizes_nothing_says_nothing() -> None:
    assert sizes_of() is None
    assert training_sizes(Config({})) is None


def test_they_are_said_in_words() -> None:
    assert str(sizes_of(RANDOM)) == '480×360 pixels, times 0.75 to 2'
    assert str(sizes_of(dict(type='Resize', scale=(1280, 760)))) == '1280×760 pixels'
    edges = sizes_of(dict(type='RandomChoiceResize', scales=[256, 512]))
    assert str(edges) == '256 pixels on the short side (and 1 more)'


def test_of_a_config_of_ours() -> None:
    sizes = training_sizes(load_config('mmseg::_base_/datasets/cityscapes.py'))
    assert str(sizes) == '2048×1024 pixels, times 0.5 to 2'
