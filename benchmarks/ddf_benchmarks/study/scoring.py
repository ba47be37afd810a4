"""Scores of a head on held-out images."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmseg.evaluation import IoUMetric
from torch import nn

from ddf_seg.datasets.camvid import CamVidDataset
from ddf_seg.evaluation import BoundaryIoUMetric
from ddf_seg.evaluation.label_regions import LabelMap

from .data import VOID, Image

BAND = 3
THIN = ('Pole', 'SignSymbol', 'Pedestrian', 'Bicyclist')


@torch.no_grad()
def score(head: nn.Module, images: Sequence[Image]) -> dict[str, float]:
    """mIoU, boundary IoU, IoU and loss within 3 px of a border, and the IoU of each class.

    All in per cent, but for 'nll', the mean negative log-likelihood of the true class at the pixels
    within 3 px of another class. A class that no held-out image shows counts in no mean.
    """
    head.eval()
    meta = CamVidDataset.METAINFO
    plain, boundary = IoUMetric(), BoundaryIoUMetric(trimap_widths=[BAND])
    plain.dataset_meta = boundary.dataset_meta = meta
    loss, pixels = 0.0, 0
    for image in images:
        labels = image.labels.cpu().long()
        scores = head([x[None].float() for x in image.levels])
        scores = F.interpolate(scores, size=labels.shape, mode='bilinear')
        scores = scores[0, :, : image.height].cpu()
        labels = labels[: image.height]
        sample = dict(
            gt_sem_seg=dict(data=labels[None]), pred_sem_seg=dict(data=scores.argmax(0)[None])
        )
        plain.process({}, [sample])
        boundary.process({}, [sample])
        void = (labels == VOID).numpy()
        near = LabelMap(labels.numpy().astype(np.uint8), void).near_another(BAND) & ~void
        loss += float(F.cross_entropy(scores[:, near].t(), labels[near], reduction='sum'))
        pixels += int(near.sum())
    intersection, union = (sum(result[i] for result in plain.results) for i in (0, 1))
    ious = (100 * intersection / union).tolist()
    each = dict(zip(meta['classes'], ious, strict=True))
    shown = {name: value for name, value in each.items() if not np.isnan(value)}
    borders = boundary.evaluate(len(images))
    scores_of_run = dict(
        mIoU=statistics.fmean(shown.values()),
        mBIoU=borders['mBIoU'],
        mIoU_trimap_3=borders['mIoU_trimap_3'],
        thin=statistics.fmean(shown[name] for name in THIN if name in shown),
        nll=loss / pixels,
    )
    scores_of_run |= {f'IoU_{name}': value for name, value in each.items()}
    return {key: round(value, 4) for key, value in scores_of_run.items()}
