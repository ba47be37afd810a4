"""Metrics, in mmseg's METRICS."""

from __future__ import annotations

from .boundary_iou_metric import BoundaryIoUMetric
from .depth_rmse_metric import DepthRMSEMetric
from .top_k_metric import TopKMetric

__all__ = ['BoundaryIoUMetric', 'DepthRMSEMetric', 'TopKMetric']
