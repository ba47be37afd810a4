"""DDFHead over some hundred steps: finite, the same in bfloat16 autocast, filters bounded."""

from __future__ import annotations

import copy
import math
import statistics
from itertools import pairwise

import numpy as np
import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.visualization import capture_filters
from road_scenes import CLASSES, render_scene

STEPS = 300
CLIP = 5.0


class Network(nn.Module):
    """DDFHead on a backbone of a convolution a level."""

    def __init__(self, branches: str) -> None:
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
                ddf_cfg=dict(branches=branches),
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
    """Eight drawn road scenes, (8, 3, 64, 96), and their labels at stride 2."""
    drawn = [render_scene(seed, (64, 96)) for seed in range(8)]
    images = torch.from_numpy(np.stack([image for image, _ in drawn])).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack([label[::2, ::2] for _, label in drawn])).long()
    return (images.float() - 127) / 128, labels


def train(network: Network, scenes: tuple[Tensor, Tensor], bfloat16: bool) -> list[float]:
    """The loss of each step, as the project's schedule takes them (AdamW, 2e-3, clipped)."""
    images, labels = scenes
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.01)
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


def deviations(network: Network, images: Tensor) -> dict[str, tuple[float, float, float]]:
    """By call: the largest mean and deviation of a spatial filter, the largest channel filter."""
    with torch.no_grad(), capture_filters(network) as calls:
        network(images)
    found = {}
    for call in calls:
        taps = call.spatial_filter.float().unflatten(1, (call.groups, -1))
        found[call.layer] = (
            taps.mean(2).abs().max().item(),
            taps.std(2).max().item(),
            call.channel_filter.abs().max().item(),
        )
    assert found
    return found


@pytest.mark.parametrize('branches', ['spatial', 'both'])
def test_some_hundred_steps(scenes: tuple[Tensor, Tensor], branches: str) -> None:
    torch.manual_seed(0)
    start = Network(branches).train()
    before = deviations(start, scenes[0])
    networks = {bfloat16: copy.deepcopy(start) for bfloat16 in (False, True)}
    ends = {}
    for bfloat16, network in networks.items():
        losses = train(network, scenes, bfloat16)
        assert all(np.isfinite(losses))
        ends[bfloat16] = statistics.fmean(losses[-50:])
        assert ends[bfloat16] < 0.4 * losses[0], 'it does not learn'
        after = deviations(network, scenes[0])
        for layer, (mean, deviation, channel) in after.items():
            # FilterNorm's closed form, whatever the weights became: mean 0, and a deviation of
            # Kaiming's gain / k, which is 1 / 3 for DDF-Up and √2 / 3 before a ReLU.
            kaiming = 1 if 'upsamples' in layer else math.sqrt(2)
            assert mean < 1e-5, layer
            assert deviation <= (1 + 1e-3) * kaiming / 3, layer
            # The channel filters' own deviation is learned: AdamW moves it by 2e-3 a step at most.
            assert channel < 4 * before[layer][2], layer
    # As far apart as rounding to 8 bits takes two runs of the same batches: within noise.
    assert ends[True] == pytest.approx(ends[False], rel=0.1)
