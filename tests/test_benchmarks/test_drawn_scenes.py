"""Scores on drawn scenes: the mapping of classes, IoU beside sklearn's, and intervals."""

from __future__ import annotations

import sys
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from scripts import ROOT, load_script
from sklearn.metrics import jaccard_score

from ddf_benchmarks import drawn_scenes
from ddf_seg.command_line import show_usage_errors
from road_scenes import CLASSES, render_scene

tool = load_script('benchmarks/drawn_scenes.py')
CONFIG = ROOT / 'configs/ddf_camvid_trainval_finetune.py'
CHECKPOINT = ROOT / 'checkpoints/ddf_camvid.pth'
SIZE = (72, 96)


def test_every_class_has_camvids_or_is_void() -> None:
    assert set(CLASSES) - set(drawn_scenes.CLASS_OF) == {'train', 'motorcycle'}
    assert set(drawn_scenes.CLASS_OF.values()) == set(drawn_scenes.CAMVID)
    _, labels = drawn_scenes.draw(3, SIZE)
    _, drawn = render_scene(3, SIZE)
    names = np.array([*CLASSES, *[''] * (256 - len(CLASSES))])[drawn]
    for name, camvid in drawn_scenes.CLASS_OF.items():
        assert (labels[names == name] == drawn_scenes.CAMVID.index(camvid)).all()
    others = ~np.isin(names, list(drawn_scenes.CLASS_OF))
    assert (labels[others] == 255).all()


def test_classes_go_where_segnet_puts_camvids() -> None:
    """Of the 32 classes that CamVid's 11 were made of, those with counterparts in Cityscapes."""
    grouped = {
        'Building': {'building', 'wall'},
        'SignSymbol': {'traffic light', 'traffic sign'},
        'Tree': {'vegetation', 'terrain'},
        'Car': {'car', 'truck', 'bus'},
        'Bicyclist': {'bicycle', 'rider'},
        'Pedestrian': {'person'},
        'Pavement': {'sidewalk'},
        **{name.capitalize(): {name} for name in ('sky', 'pole', 'road', 'fence')},
    }
    for camvid, names in grouped.items():
        assert {k for k, v in drawn_scenes.CLASS_OF.items() if v == camvid} == names


def test_ious_are_sklearns(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    scenes = [drawn_scenes.draw(seed, SIZE) for seed in (1, 2)]
    guesses = [
        np.where(random.random(SIZE) < 0.7, y, random.integers(11, size=SIZE)) for _, y in scenes
    ]
    guesses = [np.where(guess == 255, 0, guess) for guess in guesses]
    answers = iter(guesses)

    def answer(*_: object) -> SegDataSample:
        return SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(next(answers))[None]))

    monkeypatch.setattr(drawn_scenes, 'inference_model', answer)
    found = drawn_scenes.ious(drawn_scenes.areas(None, scenes))
    truth = np.concatenate([y.ravel() for _, y in scenes])
    guess = np.concatenate([g.ravel() for g in guesses])
    kept = truth != 255
    expected = jaccard_score(truth[kept], guess[kept], average=None, labels=range(11))
    np.testing.assert_allclose(found, 100 * expected, rtol=1e-6)


def test_an_interval_holds_the_difference_and_shrinks_with_the_scenes() -> None:
    random = np.random.default_rng(0)

    def network(count: int, level: float) -> np.ndarray:
        union = random.integers(500, 1000, size=(count, 11))
        return np.stack([union * (level + random.normal(0, 0.05, size=(count, 1))), union], axis=1)

    widths = []
    for count in (20, 500):
        a, b = network(count, 0.6), network(count, 0.5)
        low, high = drawn_scenes.interval(a, b)
        assert low < 10 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
    assert drawn_scenes.interval(a, a) == (0, 0)


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, 'argv', ['drawn_scenes.py', *map(str, words)])
    return show_usage_errors(tool.main)


def test_the_command_prints_a_line_for_each_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [CONFIG, CHECKPOINT, CONFIG, CHECKPOINT, '--scenes', 2, '--size', *SIZE]
    assert run(monkeypatch, *words) == 0
    # mmengine logs before the table.
    table = [line for line in capsys.readouterr().out.splitlines() if line[0] == '|']
    lines = [line.split(' | ') for line in table]
    assert [line[0] for line in lines[2:]] == ['| ddf_camvid', '| ddf_camvid']
    assert lines[3][2] == '+0.0 [+0.0, +0.0]'
    assert lines[2][3:] == lines[3][3:]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([CONFIG], 'CONFIG CHECKPOINT: expected pairs of both, got 1 words'),
        ([CONFIG, CHECKPOINT, '--size', 16, 96], '--size: expected at least 32'),
        ([CONFIG, Path('none.pth')], 'none.pth'),
    ],
)
def test_wrong_words_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[object],
    message: str,
) -> None:
    assert run(monkeypatch, *words) == 1
    assert message in capsys.readouterr().err
