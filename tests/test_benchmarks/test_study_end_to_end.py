"""The study where the backbone is trained along, on a tiny one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from tiny_study import NAMES, H, W, make_image
from torch import Tensor, nn

from ddf_benchmarks.study import training
from ddf_benchmarks.study.data import Image, Pairs
from ddf_benchmarks.study.hosts import CHANNELS, rows


def results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob('*.json'))]


class Strides(nn.Module):
    """In place of a backbone: a level of each stride that the hosts take, and one before."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 1) for c in CHANNELS)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [
            conv(nn.functional.avg_pool2d(x, 2 ** (i + 1))) for i, conv in enumerate(self.convs)
        ]


@pytest.fixture
def pairs() -> Pairs:
    """The pixels of images, each with its mirror image."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for i, name in enumerate(NAMES[:7]):
        pixels, labels = torch.rand(3, H, W, generator=generator), make_image(name, i).labels
        mirrored = Image(name, (pixels.flip(-1),), labels.flip(-1), H - 3)
        found.append((Image(name, (pixels,), labels, H - 3), mirrored))
    return found


def test_end_to_end_trains_a_backbone_for_each_row(pairs: Pairs, tmp_path: Path) -> None:
    backbone = Strides()
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    run = training.Run('segformer', 'block-0/3', 1, 2, backbone=backbone)
    training.run_rows(run, ['bilinear', 'ddf'], pairs, tmp_path)
    found = results(tmp_path)
    assert [(each['row'], each['end_to_end']) for each in found] == [
        ('bilinear', True), ('ddf', True),
    ]  # fmt: skip
    own = sum(p.numel() for p in backbone.parameters())
    alone = sum(p.numel() for p in rows('segformer')['bilinear']().parameters())
    assert found[0]['parameters'] == own + alone
    # Each row has a copy to train.
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    network = training.Network(backbone, rows('segformer')['bilinear']())
    weights = {k: v.clone() for k, v in network.named_parameters()}
    training.train(network, pairs, 1, 1)
    moved = {
        part: max(
            float((weights[k] - v).abs().max())
            for k, v in network.named_parameters()
            if k.startswith(part)
        )
        for part in ('backbone', 'head')
    }
    # AdamW's first step is as long as the rate.
    assert moved['backbone'] == pytest.approx(training.BACKBONE * moved['head'], rel=0.05)


@torch.no_grad()
def features_of(backbone: nn.Module, pairs: Pairs) -> Pairs:
    def seen(image: Image) -> Image:
        levels = tuple(x[0] for x in backbone(image.levels[0][None]))
        return Image(image.name, levels, image.labels, image.height)

    return [(seen(image), seen(mirrored)) for image, mirrored in pairs]


def test_an_upgrade_trains_the_backbone_along_from_the_trained_head(
    pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = Strides()
    plain = training.train
    networks: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def train(network: nn.Module, *arguments: Any) -> float:
        networks.append((network, {k: v.clone() for k, v in network.state_dict().items()}))
        return plain(network, *arguments)

    monkeypatch.setattr(training, 'train', train)
    monkeypatch.setattr(training, 'LONG', 3)
    monkeypatch.setattr(training, 'MORE', 2)
    run = training.Run('segformer', 'block-0/3', 1, 0, backbone=backbone)
    training.run_upgrade(run, pairs, tmp_path, features_of(backbone, pairs))
    (trained, _), (continued, before), (upgraded, start) = networks
    # Both go on from the trained head and the backbone that made the features, and change both.
    for key, value in trained.state_dict().items():
        assert torch.equal(before[f'head.{key}'], value)
        assert torch.equal(start[f'head.{key}'], value)
    for network in (continued, upgraded):
        for i in range(1, 5):  # the host takes no level of stride 2
            weight = f'convs.{i}.weight'
            assert not torch.equal(
                network.state_dict()[f'backbone.{weight}'], backbone.state_dict()[weight]
            )
    found = {each['row']: each for each in results(tmp_path)}
    assert {row: each['end_to_end'] for row, each in found.items()} == {
        'trained': False, 'continued': True, 'upgraded': True,
    }  # fmt: skip
    # What the pixels give is what the features gave.
    monkeypatch.setattr(training, 'MORE', 0)
    monkeypatch.setattr(training, 'train', lambda *_: 0.0)
    training.run_upgrade(run, pairs, tmp_path / 'untrained', features_of(backbone, pairs))
    scores = [each['scores'] for each in results(tmp_path / 'untrained')]
    assert scores[0] == pytest.approx(scores[1], abs=0.05)
    assert scores[0] == pytest.approx(scores[2], abs=0.05)
