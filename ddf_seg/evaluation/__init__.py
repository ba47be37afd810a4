"""Metrics, in mmseg's METRICS."""

from __future__ import annotations

from .boundary_iou_metric import BoundaryIoUMetric
from .top_k_metric import TopKMetric

__all__ = ['BoundaryIoUMetric', 'TopKMetric']
