"""Boundary IoU and its kin, against one mask a class, as the authors formulate it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample
from processes import free_port
from scipy import ndimage
from torch import multiprocessing

from ddf_seg.evaluation import BoundaryIoUMetric

NUM_CLASSES = 5
CLASSES = ('road', 'pole', 'car', 'tree', 'sky')
VOID = 255


def make_metric(**kwargs: Any) -> BoundaryIoUMetric:
    metric = METRICS.build({'type': 'BoundaryIoUMetric', **kwargs})
    metric.dataset_meta = {'classes': CLASSES}
    return metric


def make_sample(truth: np.ndarray, prediction: np.ndarray, **more: np.ndarray) -> dict[str, Any]:
    maps = {'gt_sem_seg': truth, 'pred_sem_seg': prediction, **more}
    return {key: {'data': torch.from_numpy(value)[None]} for key, value in maps.items()}


def make_maps(seed: int, size: tuple[int, int] = (61, 83)) -> tuple[np.ndarray, np.ndarray]:
    """Truth with poles, blobs and void, and a prediction that is near it."""
    rng = np.random.default_rng(seed)
    height, width = size
    truth = np.zeros(size, np.int64)
    for _ in range(12):
        top, left = rng.integers(height), rng.integers(width)
        box = np.s_[top : top + rng.integers(1, 40), left : left + rng.integers(1, 30)]
        truth[box] = rng.integers(NUM_CLASSES)
    prediction = np.roll(truth, rng.integers(-2, 3, 2), (0, 1))
    prediction[rng.random(size) < 0.02] = rng.integers(NUM_CLASSES)
    truth[rng.integers(height) :, rng.integers(width) :][:9, :20] = VOID
    truth[rng.random(size) < 0.01] = VOID
    truth[-4:] = VOID
    return truth, prediction


def square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1, 2 * radius + 1), bool)


def inner_boundary(mask: np.ndarray, void: np.ndarray, radius: int, border: bool) -> np.ndarray:
    """The authors' mask_to_boundary: the mask without its erosion, from outside the image on."""
    eroded = ndimage.binary_erosion(
        mask | void, np.ones((3, 3), bool), iterations=radius, border_value=int(not border)
    )
    return mask & ~eroded


def naive_region_ious(
    pairs: list[tuple[np.ndarray, np.ndarray]], regions: list[np.ndarray]
) -> np.ndarray:
    ious = np.full(NUM_CLASSES, np.nan)
    for label in range(NUM_CLASSES):
        inter = union = 0
        for (truth, prediction), region in zip(pairs, regions, strict=True):
            g, p = (truth == label) & region, (prediction == label) & region
            inter, union = inter + (g & p).sum(), union + (g | p).sum()
        if union:
            ious[label] = 100 * inter / union
    return ious


def naive_boundary_ious(pairs: list[tuple[np.ndarray, np.ndarray]], width: float) -> np.ndarray:
    ious = np.full(NUM_CLASSES, np.nan)
    for label in range(NUM_CLASSES):
        inter = union = 0
        for truth, prediction in pairs:
            radius = max(1, round(width * math.hypot(*truth.shape)))
            void = truth == VOID
            g, p = (
                inner_boundary((labels == label) & ~void, void, radius, border=True)
                for labels in (truth, prediction)
            )
            inter, union = inter + (g & p).sum(), union + (g | p).sum()
        if union:
            ious[label] = 100 * inter / union
    return ious


@pytest.mark.parametrize('width', [0.001, 0.02, 0.05])
def test_boundary_iou_is_the_authors(width: float) -> None:
    pairs = [make_maps(seed) for seed in range(4)] + [make_maps(9, (40, 120))]
    metric = make_metric(width=width, classwise=True)
    # Batches of several sizes
    metric.process(None, [make_sample(*pair) for pair in pairs[:3]])
    metric.process(None, [make_sample(*pair) for pair in pairs[3:]])
    scores = metric.evaluate(len(pairs))
    expected = naive_boundary_ious(pairs, width)
    assert np.isfinite(expected).all()
    got = [scores[f'BIoU_{name}'] for name in CLASSES]
    np.testing.assert_allclose(got, expected, atol=0.00501)
    assert scores['mBIoU'] == pytest.approx(expected.mean(), abs=0.00501)


def test_the_other_regions() -> None:
    pairs = [make_maps(seed) for seed in range(3)]
    rng = np.random.default_rng(0)
    depths = [rng.uniform(-10, 60, truth.shape).astype(np.float32) for truth, _ in pairs]
    depths[0][:5] = np.nan
    metric = make_metric(
        width=0.02, trimap_widths=(1, 4), thinness=0.08, row_limits=[0.5], depth_limits=[20]
    )
    for pair, depth in zip(pairs, depths, strict=True):
        metric.process(None, [make_sample(*pair, gt_depth_map=depth)])
    scores = metric.evaluate(3)

    radius, side = round(0.02 * math.hypot(61, 83)), round(0.08 * math.hypot(61, 83) / 2)
    regions: dict[str, list[np.ndarray]] = {name: [] for name in scores if name != 'mBIoU'}
    for (truth, _), depth in zip(pairs, depths, strict=True):
        void = truth == VOID
        masks = [truth == label for label in range(NUM_CLASSES)]
        for pixels in (1, 4):
            # Inner boundaries of all classes are all pixels near another class.
            bands = [inner_boundary(mask, void, pixels, border=False) for mask in masks]
            regions[f'mIoU_trimap_{pixels}'].append(np.any(bands, 0))
        opened = [
            ndimage.binary_dilation(
                ndimage.binary_erosion(mask | void, square(side), border_value=1), square(side)
            )
            for mask in masks
        ]
        parts = np.any([mask & ~kept for mask, kept in zip(masks, opened, strict=True)], 0)
        assert 0 < parts.mean() < 0.9
        thin = ndimage.binary_dilation(parts, square(radius)) & ~void
        regions['mIoU_thin'].append(thin)
        regions['mIoU_thick'].append(~thin & ~void)
        upper = np.zeros_like(void)
        upper[:31] = True
        regions['mIoU_rows_0-50'].append(upper & ~void)
        regions['mIoU_rows_50-100'].append(~upper & ~void)
        regions['mIoU_depth_0-20'].append((depth > 0) & (depth < 20) & ~void)
        regions['mIoU_depth_20-inf'].append((depth >= 20) & ~void)
    for name, region in regions.items():
        expected = np.nanmean(naive_region_ious(pairs, region))
        assert scores[name] == pytest.approx(expected, abs=0.00501), name


def test_what_a_boundary_is() -> None:
    truth = np.zeros((20, 30), np.int64)
    metric = make_metric(width=0.001, classwise=True)
    # The border of the image is a contour even of a single class.
    metric.process(None, [make_sample(truth, truth)])
    assert metric.evaluate(1)['mBIoU'] == 100.0
    # Beside void there is none: a prediction that changes within it costs nothing.
    truth[5:15, 10:20] = VOID
    prediction = np.zeros_like(truth)
    prediction[6:14, 12:19] = 2
    metric.process(None, [make_sample(truth, prediction)])
    scores = metric.evaluate(1)
    assert scores['BIoU_road'] == 100.0
    assert math.isnan(scores['BIoU_car'])
    # A shift of three pixels at a width of one leaves nothing of a pole's boundary in place.
    truth[:] = 0
    truth[:, 10] = 1
    metric.process(None, [make_sample(truth, np.roll(truth, 3, 1))])
    assert metric.evaluate(1)['BIoU_pole'] == 0.0
    # All void
    metric.process(None, [make_sample(np.full_like(truth, VOID), prediction)])
    assert math.isnan(metric.evaluate(1)['mBIoU'])


def test_it_starts_anew_and_many_classes_fit() -> None:
    metric = BoundaryIoUMetric(width=0.02, prefix='far')
    metric.dataset_meta = {'classes': [str(index) for index in range(300)]}
    truth = np.random.default_rng(0).integers(0, 300, (6, 8)).repeat(8, 0).repeat(8, 1)
    truth[0] = -1
    for _ in range(2):
        metric.process(None, [make_sample(truth, truth)])
        assert metric.evaluate(1) == {'far/mBIoU': 100.0}
        assert metric.results == []


def test_beside_mmsegs_metric_in_one_evaluator() -> None:
    init_default_scope('mmseg')
    evaluator = Evaluator([{'type': 'IoUMetric'}, {'type': 'BoundaryIoUMetric', 'width': 0.02}])
    evaluator.dataset_meta = {'classes': CLASSES}
    pairs = [make_maps(seed) for seed in range(3)]
    for pair in pairs:
        evaluator.process([SegDataSample(**sample) for sample in [make_data_sample(pair)]])
    scores = evaluator.evaluate(3)
    valid = [truth != VOID for truth, _ in pairs]
    expected = np.nanmean(naive_region_ious(pairs, valid))
    assert scores['mIoU'] == pytest.approx(expected, abs=0.00501)
    assert scores['mBIoU'] == pytest.approx(naive_boundary_ious(pairs, 0.02).mean(), abs=0.00501)


def make_data_sample(pair: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    from mmengine.structures import PixelData

    sample = make_sample(*pair)
    return {key: PixelData(**value) for key, value in sample.items()}


def _count_share(rank: int, port: str, file: str) -> None:
    """What a process of two does with its share of 5 images, the first of which is repeated."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'tcp://127.0.0.1:{port}', rank=rank, world_size=2
    )
    metric = make_metric(width=0.02)
    for index in [0, 1, 2, 3, 4, 0][rank::2]:
        metric.process(None, [make_sample(*make_maps(index))])
    scores = metric.evaluate(5)
    torch.save(scores, f'{file}{rank}')
    torch.distributed.destroy_process_group()


def test_two_processes_count_every_image_once(tmp_path: Path) -> None:
    arguments = (free_port(), str(tmp_path / 'scores'))
    multiprocessing.start_processes(_count_share, arguments, nprocs=2, start_method='fork')
    pairs = [make_maps(seed) for seed in range(5)]
    expected = naive_boundary_ious(pairs, 0.02).mean()
    for rank in range(2):
        scores = torch.load(tmp_path / f'scores{rank}')
        assert scores['mBIoU'] == pytest.approx(expected, abs=0.00501)


@pytest.mark.parametrize(
    ('kwargs', 'expected'),
    [
        ({'width': 0}, 'width: expected more than 0'),
        ({'trimap_widths': [3, -1]}, 'trimap_widths: expected more than 0'),
        ({'thinness': 0.0}, 'thinness: expected more than 0'),
        ({'row_limits': [0.7, 0.5]}, r'row_limits: expected ascending .* got \[0.7, 0.5\]'),
        ({'row_limits': [1.5]}, 'row_limits'),
        ({'depth_limits': [0]}, 'depth_limits'),
    ],
)
def test_arguments_that_make_no_sense(kwargs: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        make_metric(**kwargs)


def test_samples_that_do_not_fit() -> None:
    truth, prediction = make_maps(0)
    with pytest.raises(ValueError, match=r'one size, got \(61, 83\) and \(60, 83\)'):
        make_metric().process(None, [make_sample(truth, prediction[1:])])
    with pytest.raises(ValueError, match='LoadDepthAnnotation'):
        make_metric(depth_limits=[20]).process(None, [make_sample(truth, prediction)])
    metric = BoundaryIoUMetric()
    with pytest.raises(ValueError, match='dataset_meta'):
        metric.process(None, [make_sample(truth, prediction)])
