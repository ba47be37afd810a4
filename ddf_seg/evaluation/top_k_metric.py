"""How often the true class is among the first k."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class TopKMetric(BaseMetric):
    """Accuracy in per cent: the share of images whose class is among the k of highest score.

    A class with the same score as the true one counts as before it; so does one whose score is no
    number.

    Args:
        k: some of them; 'top1', 'top5' in the result.
        kwargs: as for mmengine's BaseMetric.
    """

    def __init__(self, k: Sequence[int] = (1, 5), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.k = tuple(k)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Takes predictions of `MeanClassifier`."""
        for sample in data_samples:
            scores, label = sample['scores'], sample['label']
            below = int((scores < scores[label]).sum())
            self.results.append(len(scores) - 1 - below)

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Of the number of classes before the true one, for each image."""
        return {
            f'top{k}': 100 * sum(before < k for before in results) / len(results) for k in self.k
        }
