"""Upsampling of depth maps: how the network starts, what it is scored on, and its command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import METRICS, MODELS
from scripts import ROOT
from torch import Tensor

from ddf_seg.cli.depth import main
from ddf_seg.command_line import show_usage_errors
from road_scenes.dataset import prepare, write_scene

CONFIG = ROOT / 'configs/depth_upsampling/ddf_x8_scenes.py'


def build(**kwargs: Any) -> Any:
    torch.manual_seed(0)
    return MODELS.build({'type': 'DepthUpsampler', 'factor': 4, 'channels': 4, **kwargs})


class _Sample:
    """What mmseg's PackSegInputs makes of a depth map."""

    def __init__(self, depth: Tensor) -> None:
        self.gt_depth_map = type('PixelData', (), dict(data=depth))


@pytest.mark.parametrize('factor', [2, 4, 16])
@pytest.mark.parametrize('size', [(3, 5), (1, 2)])
def test_the_network_starts_as_bilinear_interpolation(factor: int, size: tuple[int, int]) -> None:
    net = build(factor=factor)
    low = 1 + 40 * torch.rand(2, 1, *size)
    image = torch.randn(2, 3, factor * size[0], factor * size[1])
    expected = F.interpolate(low, scale_factor=factor, mode='bilinear')
    torch.testing.assert_close(net.upsample(image, low), expected)
    # A map without a range of depths, too
    flat = torch.full_like(low, 7.5)
    torch.testing.assert_close(net.upsample(image, flat), torch.full_like(expected, 7.5))


@pytest.mark.parametrize('normalization', ['interpolation', 'filter_norm'])
def test_all_of_the_network_learns(normalization: str) -> None:
    net = build(ddf_cfg=dict(normalization=normalization))
    # The last convolution starts at 0, and passes nothing on at first.
    torch.nn.init.normal_(net.refine[-1].weight)
    if normalization == 'interpolation':
        torch.nn.init.normal_(net.upsamples[0].ddf_up.spatial_branch.guide.weight)
    depth = [_Sample(20 * torch.rand(1, 16, 24)) for _ in range(2)]
    net(torch.randn(2, 3, 16, 24), depth, mode='loss')['loss'].backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    for part in (net.guides, net.encode, net.upsamples, net.refine):
        assert any(bool(p.grad.abs().sum() > 0) for p in part.parameters())


def test_the_loss_and_the_score_are_of_what_is_near_enough() -> None:
    net = build(farthest=30.0)
    # 17 × 22 pixels: 16 × 20 are multiples of the factor.
    random = np.random.default_rng(0)
    metres = random.uniform(1, 50, (2, 17, 22)).astype(np.float32)
    image = torch.randn(2, 3, 17, 22)
    samples = [_Sample(torch.from_numpy(m)[None]) for m in metres]
    loss = float(net(image, samples, mode='loss')['loss'])
    found = net(image, samples, mode='predict')
    kept = np.minimum(metres[:, :16, :20], 30)
    # Second pixel of four: the one before the middle
    low = torch.from_numpy(kept[:, None, 1::4, 1::4])
    predicted = F.interpolate(low, scale_factor=4, mode='bilinear')[:, 0].numpy()
    near = metres[:, :16, :20] < 30
    squares = (predicted - kept) ** 2
    assert loss == pytest.approx(squares[near].mean(), rel=1e-4)
    metric = METRICS.build(dict(type='DepthRMSEMetric'))
    metric.process({}, found)
    expected = np.mean([100 * np.sqrt(s[n].mean()) for s, n in zip(squares, near, strict=True)])
    assert metric.evaluate(2)['rmse'] == pytest.approx(expected, rel=1e-4)
    assert expected != pytest.approx(100 * np.sqrt(squares[near].mean()), rel=1e-3)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match='factor: expected a power of 2 from 2 on, got 6'):
        build(factor=6)
    with pytest.raises(ValueError, match='channels: expected at least 2, got 1'):
        build(channels=1)
    with pytest.raises(ValueError, match=r"mode: expected 'loss' or 'predict' .* got 'tensor'"):
        build()(torch.zeros(1, 3, 8, 8))


@pytest.fixture(scope='module')
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a few small scenes and their depth."""
    root = tmp_path_factory.mktemp('depth')
    prepare(root / 'depth_scenes', {'depth': True})
    for task in (('train', 0), ('train', 1), ('val', 0)):
        write_scene(task, root / 'depth_scenes', (64, 96), 0, depth=True)
    return root


def run(monkeypatch: pytest.MonkeyPatch, root: Path, work: Path, *arguments: str) -> int:
    monkeypatch.setenv('DDF_DATA_ROOT', str(root))
    monkeypatch.setattr(sys, 'argv', ['depth.py', str(CONFIG), '--work-dir', str(work), *arguments])
    return show_usage_errors(main)


def scores(work: Path) -> dict[int, float]:
    """RMSE by iteration, of all runs in a work dir."""
    lines = [
        json.loads(line)
        for file in sorted(work.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    return {line['step']: line['rmse'] for line in lines if 'rmse' in line}


def test_a_training_betters_interpolation_and_goes_on(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        '--cfg-options', 'randomness.seed=0', 'model.factor=4', 'model.channels=8',
        'train_dataloader.batch_size=2', 'train_dataloader.dataset.pipeline.2.crop_size=(48,64)',
        'optim_wrapper.optimizer.lr=0.005', 'train_cfg.val_interval=1',
        'default_hooks.checkpoint.interval=1', 'param_scheduler.end=40',
    ]  # fmt: skip
    assert run(monkeypatch, scenes, tmp_path, *options, 'train_cfg.max_iters=1') == 0
    options[options.index('train_cfg.val_interval=1')] = 'train_cfg.val_interval=40'
    command = [*options, 'train_cfg.max_iters=40']
    assert run(monkeypatch, scenes, tmp_path, '--resume', *command) == 0
    found = scores(tmp_path)
    assert sorted(found) == [1, 40]
    # One step from interpolation
    assert found[40] < 0.95 * found[1]


def test_missing_data_ends_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path, tmp_path / 'work') == 1
    error = capsys.readouterr().err
    assert 'depth_scenes/leftImg8bit/train: expected the folder of img_path' in error
    assert 'Traceback' not in error


def test_infinite_depth_wants_a_farthest() -> None:
    depth = torch.rand(1, 16, 16) + 1
    depth[0, 3, 2] = torch.inf
    images = torch.randn(1, 3, 16, 16)
    assert build(farthest=30.0)(images, [_Sample(depth)], 'loss')['loss'].isfinite()
    with pytest.raises(ValueError, match='expected finite depth, or farthest=…'):
        build()(images, [_Sample(depth)], 'loss')
