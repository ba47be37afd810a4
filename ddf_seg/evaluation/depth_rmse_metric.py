"""The root of the mean squared error of depth maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

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
            # Nothing is scored where all is sky. mmengine wants a result for each image all the
            # same, and not None: it tells those that a sampler has repeated by their places.
            scored = error.numel() > 0
            self.results.append([100 * float(error.square().mean().sqrt())] if scored else [])

    def compute_metrics(self, results: list[list[float]]) -> dict[str, float]:
        """Of the error of each image, of which there is none where nothing is scored."""
        errors = list(chain.from_iterable(results))
        return {'rmse': sum(errors) / len(errors) if errors else float('nan')}
