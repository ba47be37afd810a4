"""The root of the mean squared error of depth maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class DepthRMSEMetric(BaseMetric):
    """RMSE in centimetres: of an image's scored pixels, then the mean over the images.

    As PAC's published code has it for NYU Depth V2 (Su et al., CVPR 2019), whose table the paper
    continues; but all pixels count up to the image's border, where that code leaves 6 out. mmseg's
    DepthMetric takes logarithms, which a depth of 0 or below does not have.
    """

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Takes predictions of `DepthUpsampler`."""
        for sample in data_samples:
            error = (sample['depth'] - sample['target'])[sample['scored']].double()
            # Nothing is scored where all is sky.
            if error.numel():
                self.results.append(100 * float(torch.sqrt(error.square().mean())))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Of the errors of the images."""
        return {'rmse': sum(results) / len(results) if results else float('nan')}
