"""Metrics, in mmseg's METRICS."""

from __future__ import annotations

from .boundary_iou_metric import BoundaryIoUMetric

__all__ = ['BoundaryIoUMetric']
