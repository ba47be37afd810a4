"""What the study's configs name beyond ddf_seg: other upsampling layers, and IoU by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.registry import MODELS
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import nn

from ddf_seg.errors import UsageError

from ..upsamplers import carafe_pack, dysample


@METRICS.register_module()
class ClassIoUMetric(IoUMetric):
    """mmseg's IoUMetric that also returns the IoU of each class, as `IoU_{class}`, in per cent."""

    def compute_metrics(self, results: Sequence[Any]) -> dict[str, float]:
        scores = dict(super().compute_metrics(list(results)))
        intersection, union = (sum(result[i] for result in results) for i in (0, 1))
        assert self.dataset_meta is not None
        ious = np.asarray(100 * intersection / union).round(2).tolist()
        each = zip(self.dataset_meta['classes'], ious, strict=True)
        return scores | {f'IoU_{label}': iou for label, iou in each}


@MODELS.register_module(name='CARAFE')
def carafe(channels: int, scale_factor: int) -> nn.Module:
    """mmcv's CARAFEPack, reassembling with ddf_seg's operator."""
    layer = carafe_pack(channels, scale_factor)
    assert layer is not None
    return layer


@MODELS.register_module(name='DySample')
def dysample_of_spandrel(channels: int, scale_factor: int, groups: int = 4) -> nn.Module:
    """The DySample of the package spandrel.

    Raises:
        UsageError: the package is not installed.
    """
    layer = dysample(channels, scale_factor, groups)
    if layer is None:
        raise UsageError('DySample needs spandrel: pip install --no-deps spandrel==0.4.2')
    return layer
