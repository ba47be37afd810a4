"""DDFHead over some hundred steps: finite, the same in bfloat16 autocast, filters bounded."""

from __future__ import annotations

import copy
import math
import statistics
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from ddf_forms import PAPER
from mmseg.registry import MODELS
from torch import Tensor, nn

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.layers import DDFUpPack, GatedDDFConv2d
from ddf_seg.visualization import capture_filters
from road_scenes import CLASSES, render_scene

STEPS = 150
RATE = 2e-3
CLIP = 5.0


class Network(nn.Module):
    """DDFHead on a backbone of a convolution a level."""

    def __init__(self, ddf_cfg: dict[str, Any]) -> None:
        super().__init__()
        widths = (3, 8, 16, 24)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()
            )
            for i, o in pairwise(widths)
        )
        self.head = MODELS.build(
            dict(
                type='DDFHead',
                in_channels=widths[1:],
                in_index=[0, 1, 2],
                channels=12,
                num_classes=len(CLASSES),
                norm_cfg=dict(type='BN'),
                ddf_cfg=ddf_cfg,
            )
        )
        self.head.init_weights()

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        scores: Tensor = self.head(maps)
        return scores


@pytest.fixture(scope='module')
def scenes() -> tuple[Tensor, Tensor]:
    """Eight drawn road scenes, (8, 3, 48, 64), and their labels at stride 2."""
    drawn = [render_scene(seed, (48, 64)) for seed in range(8)]
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label[::2, ::2] for _, label in drawn])).long()
    return (images.float() - 127) / 128, labels


def train(network: Network, scenes: tuple[Tensor, Tensor], bfloat16: bool) -> list[float]:
    """The loss of each step, as the project's schedule takes them (AdamW, 2e-3, clipped)."""
    images, labels = scenes
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    order = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(STEPS):
        batch = torch.randperm(len(images), generator=order)[:4]
        with torch.autocast('cpu', torch.bfloat16, enabled=bfloat16):
            scores = network(images[batch])
        loss = nn.functional.cross_entropy(scores.float(), labels[batch], ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        assert norm.isfinite(), f'gradient of step {len(losses)}: {norm}'
        optimizer.step()
        losses.append(loss.item())
    return losses


def extremes(network: Network, images: Tensor) -> dict[str, tuple[float, float, float, float]]:
    """By call: the least and largest mean of a spatial filter, its deviation, a channel filter."""
    with torch.no_grad(), capture_filters(network) as calls:
        network(images)
    found = {}
    for call in calls:
        taps = call.spatial_filter.float().unflatten(1, (call.groups, -1))
        found[call.layer] = (
            taps.mean(2).min().item(),
            taps.mean(2).max().item(),
            taps.std(2).max().item(),
            call.channel_filter.abs().max().item(),
        )
    assert found
    return found


def mean_and_most_deviation(layer: nn.Module) -> tuple[float, float]:
    """What a spatial filter's mean is and its deviation at most, whatever the weights became."""
    if isinstance(layer, DDFUpPack) and layer.interpolation is not None:
        # A sum of 1. Interpolation's weights are at most 1 long, two softmaxes √2 apart.
        taps = layer.kernel_size**2
        return 1 / taps, (1 + math.sqrt(2)) / math.sqrt(taps - 1)
    if isinstance(layer, DDFUpPack):
        return 0, 1 / 3  # FilterNorm: Kaiming's gain / k
    before_relu = math.sqrt(2) / 3
    if isinstance(layer, GatedDDFConv2d):
        factor = abs(layer.gated.factor.item())
        assert factor < STEPS * RATE
        return 0, factor * before_relu
    return 0, before_relu


@pytest.mark.parametrize(
    'ddf_cfg',
    [
        {},
        pytest.param(PAPER, marks=pytest.mark.slow),
        pytest.param(dict(branches='both', **PAPER), marks=pytest.mark.slow),
    ],
    ids=['default', 'paper, spatial', 'paper, both'],
)
def test_some_hundred_steps(scenes: tuple[Tensor, Tensor], ddf_cfg: dict[str, Any]) -> None:
    torch.manual_seed(0)
    start = Network(ddf_cfg).train()
    before = extremes(start, scenes[0])
    networks = {bfloat16: copy.deepcopy(start) for bfloat16 in (False, True)}
    ends = {}
    for bfloat16, network in networks.items():
        losses = train(network, scenes, bfloat16)
        assert all(np.isfinite(losses))
        ends[bfloat16] = statistics.fmean(losses[-50:])
        assert ends[bfloat16] < 0.4 * losses[0], 'it does not learn'
        for name, (least, largest, deviation, channel) in extremes(network, scenes[0]).items():
            mean, most = mean_and_most_deviation(network.get_submodule(name))
            assert least == pytest.approx(mean, abs=1e-5), name
            assert largest == pytest.approx(mean, abs=1e-5), name
            assert deviation <= (1 + 1e-3) * most, name
            # The channel filters' own deviation is learned, as are static filters: AdamW moves them
            # by its rate a step at most.
            assert channel < 4 * before[name][3], name
    # As far apart as rounding to 8 bits takes two runs of the same batches: within noise.
    assert ends[True] == pytest.approx(ends[False], rel=0.1)
