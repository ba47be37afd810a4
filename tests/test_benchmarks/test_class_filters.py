"""Filters by class: similarity against loops, what is captured, and the picture."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from scripts import ROOT, load_script

from ddf_benchmarks import class_filters
from ddf_seg.command_line import show_usage_errors
from ddf_seg.datasets.cifar10 import CLASSES
from ddf_seg.engine.config_file import read_config

tool = load_script('benchmarks/class_filters.py')
CONFIG = ROOT / 'configs/classification/ddf_resnet29_1xb64_cifar10.py'
OPTIONS = {
    'model.backbone.depth': 20,
    'model.backbone.base_channels': 4,
    'model.in_channels': 64,
}


def test_similarity_is_that_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 1, 1, 0, 2, 2, 2, 0])
    filters = random.normal(size=(8, 2, 3, 3)) + labels[:, None, None, None]
    found = class_filters.similarity(torch.from_numpy(filters), torch.from_numpy(labels))
    own = (filters - filters.mean(0)).reshape(8, -1)
    for a in range(3):
        for b in range(3):
            cosines = [
                own[i] @ own[j] / np.linalg.norm(own[i]) / np.linalg.norm(own[j])
                for i in np.flatnonzero(labels == a)
                for j in np.flatnonzero(labels == b)
                if i != j
            ]
            assert float(found[a, b]) == pytest.approx(np.mean(cosines))


def test_classes_are_told_by_means_of_the_other_half() -> None:
    # One number an image: 0 and 10 are the classes' own, the last lies on the wrong side.
    values = torch.tensor([0.0, 1, 10, 11, 0, 0, 10, 2]).view(8, 1, 1, 1)
    labels = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    assert class_filters.told(values, labels) == 87.5
    assert class_filters.told(torch.zeros(8, 1, 1, 1), torch.ones(8).long()) == 0


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with three images of each class, and a network as a checkpoint."""
    root = tmp_path_factory.mktemp('cifar')
    random = np.random.default_rng(0)
    for i, name in enumerate(CLASSES):
        folder = root / 'cifar10/cifar10.zip/test' / name
        folder.mkdir(parents=True)
        for number in range(3):
            colour = np.array([20 * i, 200 - 20 * i, 90])
            image = random.integers(0, 40, (32, 32, 3)) + colour
            cv2.imwrite(str(folder / f'{number}.png'), image.astype(np.uint8))
    torch.manual_seed(0)
    network = MODELS.build(read_config(str(CONFIG), OPTIONS).model)
    torch.save({'state_dict': network.state_dict()}, root / 'network.pth')
    return root


def run(monkeypatch: pytest.MonkeyPatch, root: Path, *arguments: str) -> int:
    monkeypatch.setenv('DDF_DATA_ROOT', str(root))
    command = [str(CONFIG), str(root / 'network.pth'), *arguments]
    options = [f'{key}={value}' for key, value in OPTIONS.items()]
    monkeypatch.setattr(sys, 'argv', ['class_filters', *command, '--cfg-options', *options])
    return show_usage_errors(tool.main)


def test_the_tool_tells_of_all_layers_and_draws(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = trained / 'picture.png'
    assert run(monkeypatch, trained, '--per-class', '3', '--out', str(picture)) == 0
    # mmengine logs before the table.
    lines = [line for line in capsys.readouterr().out.splitlines() if line[0] == '|'][2:]
    layers = [f'backbone.layer{i}.{j}.conv2' for i in (1, 2, 3) for j in (0, 1)]
    assert [line.split('|')[1].strip() for line in lines] == layers
    # By the network's own branch, without the operators
    cfg = read_config(str(CONFIG), OPTIONS)
    network = MODELS.build(cfg.model).eval()
    network.load_state_dict(torch.load(trained / 'network.pth')['state_dict'])
    filters: list[torch.Tensor] = []
    branch = network.backbone.layer3[1].conv2.channel_branch
    branch.register_forward_hook(lambda *arguments: filters.append(arguments[2].flatten(1)))
    for name in CLASSES:
        for number in range(3):
            file = trained / 'cifar10/cifar10.zip/test' / name / f'{number}.png'
            image = torch.from_numpy(cv2.imread(str(file)).transpose(2, 0, 1).copy())
            inputs = network.data_preprocessor({'inputs': [image]})['inputs']
            with torch.no_grad():
                network(inputs)
    labels = torch.arange(10).repeat_interleave(3)
    expected = class_filters.similarity(torch.cat(filters), labels).diagonal().mean()
    assert float(lines[-1].split('|')[2]) == pytest.approx(float(expected), abs=0.002)
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert min(drawn.shape[:2]) > 400
    # Each class's image, in its colour, on white
    for i in (0, 9):
        colour = np.array([20 * i, 200 - 20 * i, 90]) + 20
        near = np.abs(drawn.astype(int) - colour).max(2) < 25
        assert near.sum() > 500


def test_bad_arguments_are_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, trained, '--per-class', '1') == 1
    assert '--per-class: expected at least 2 images, got 1' in capsys.readouterr().err
    assert run(monkeypatch, trained, '--per-class', '9', '--out', str(trained / 'x.png')) == 1
    assert re.search('expected 9 images of the class airplane, got 3', capsys.readouterr().err)
