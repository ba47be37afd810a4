"""Scores of CamVid's networks on drawn road scenes, with intervals over the scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmseg.apis import inference_model
from mmseg.evaluation import IoUMetric

from ddf_seg.datasets.camvid import CamVidDataset
from road_scenes import CLASSES, IGNORE, render_scene

CAMVID = CamVidDataset.METAINFO['classes']
# The class of CamVid's 11 that each of Cityscapes' belongs to, by SegNet's grouping of CamVid's 32.
# A train and a motorcycle are of none that all agree on.
CLASS_OF = {
    'road': 'Road',
    'sidewalk': 'Pavement',
    'building': 'Building',
    'wall': 'Building',
    'fence': 'Fence',
    'pole': 'Pole',
    'traffic light': 'SignSymbol',
    'traffic sign': 'SignSymbol',
    'vegetation': 'Tree',
    'terrain': 'Tree',
    'sky': 'Sky',
    'person': 'Pedestrian',
    'rider': 'Bicyclist',
    'car': 'Car',
    'truck': 'Car',
    'bus': 'Car',
    'bicycle': 'Bicyclist',
}


def draw(seed: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A scene, (H, W, 3) BGR, and CamVid's ids, (H, W), 255 for what has none."""
    to_camvid = np.full(256, IGNORE, np.uint8)
    for number, name in enumerate(CLASSES):
        if name in CLASS_OF:
            to_camvid[number] = CAMVID.index(CLASS_OF[name])
    image, labels = render_scene(seed, size)
    return image, to_camvid[labels]


def areas(model: Any, scenes: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Intersection and union of prediction and truth, in pixels: (scenes, 2, 11)."""
    found = []
    for image, labels in scenes:
        predicted = inference_model(model, image).pred_sem_seg.data[0]
        both, union, *_ = IoUMetric.intersect_and_union(
            predicted, torch.from_numpy(labels.astype(np.int64)), len(CAMVID), IGNORE
        )
        found.append(np.stack([both, union]))
    return np.stack(found)


def ious(areas: np.ndarray) -> np.ndarray:
    """IoU of each class over all scenes, in per cent: (…, scenes, 2, 11) to (…, 11)."""
    both, union = np.moveaxis(areas.sum(axis=-3), -2, 0)
    return np.asarray(100 * both / np.where(union == 0, np.nan, union))


def interval(areas: np.ndarray, others: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of one network's mIoU less another's, by drawing scenes 2000 times."""
    count = len(areas)
    drawn = np.random.default_rng(seed).integers(count, size=(2000, count))
    means = [np.nanmean(ious(network[drawn]), axis=-1) for network in (areas, others)]
    low, high = np.percentile(means[0] - means[1], [2.5, 97.5])
    return float(low), float(high)


def table(names: Sequence[str], found: Sequence[np.ndarray]) -> str:
    """A line for each network: mIoU, the difference to the first, and the IoU of each class."""
    lines = [
        '| network | mIoU | to the first | ' + ' | '.join(CAMVID) + ' |',
        '|---' * (3 + len(CAMVID)) + '|',
    ]
    means = [float(np.nanmean(ious(areas))) for areas in found]
    for name, mean, areas in zip(names, means, found, strict=True):
        difference = ''
        if areas is not found[0]:
            low, high = interval(areas, found[0])
            difference = f'{mean - means[0]:+.1f} [{low:+.1f}, {high:+.1f}]'
        each = ' | '.join(f'{value:.1f}' for value in ious(areas))
        lines.append(f'| {name} | {mean:.1f} | {difference} | {each} |')
    return '\n'.join(lines)
