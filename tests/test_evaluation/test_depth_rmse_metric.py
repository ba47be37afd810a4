"""The error of depth maps: images without a scored pixel, and several processes."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import METRICS
from processes import free_port
from torch import multiprocessing

# What the network is off by in five images, in metres; of the third all is sky.
ERRORS = (9.0, 1.0, 5.0, 2.0, 4.0)
SKY = 2
EXPECTED = 100 * (9 + 1 + 2 + 4) / 4


def sample(number: int) -> dict[str, Any]:
    target = torch.rand(1, 4, 5)
    scored = torch.full_like(target, number != SKY, dtype=torch.bool)
    return dict(depth=target + ERRORS[number], target=target, scored=scored)


def score(numbers: list[int], size: int) -> float:
    init_default_scope('mmseg')
    metric = METRICS.build(dict(type='DepthRMSEMetric'))
    for number in numbers:
        metric.process({}, [sample(number)])
    return float(metric.evaluate(size)['rmse'])


def _score_share(rank: int, port: str, file: str) -> None:
    # mmengine collects in a folder of the working directory.
    os.chdir(Path(file).parent)
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    # As a sampler shares out five images: the first one again, to give each as many
    torch.save(score([[0, 2, 4], [1, 3, 0]][rank], 5), f'{file}{rank}')
    torch.distributed.destroy_process_group()


def test_two_processes_count_every_image_once(tmp_path: Path) -> None:
    arguments = (free_port(), str(tmp_path / 'score'))
    multiprocessing.start_processes(_score_share, arguments, nprocs=2, start_method='fork')
    for rank in range(2):
        assert torch.load(tmp_path / f'score{rank}') == pytest.approx(EXPECTED)


def test_sky_does_not_count_and_no_number_does() -> None:
    assert score(list(range(5)), 5) == pytest.approx(EXPECTED)
    assert math.isnan(score([SKY], 1))
    # A network that has diverged has no error of other images.
    metric = METRICS.build(dict(type='DepthRMSEMetric'))
    metric.process({}, [sample(1), sample(3) | dict(depth=torch.full((1, 4, 5), math.nan))])
    assert math.isnan(metric.evaluate(2)['rmse'])
