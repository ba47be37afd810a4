"""Finds the faults of a config's datasets before they cost an epoch."""

from __future__ import annotations

from .checking import check_all, check_quickly
from .findings import Finding, Result, Severity
from .report import exit_code, format_report, to_json
from .settings import check_class_weights

__all__ = [
    'Finding',
    'Result',
    'Severity',
    'check_all',
    'check_class_weights',
    'check_quickly',
    'exit_code',
    'format_report',
    'to_json',
]
