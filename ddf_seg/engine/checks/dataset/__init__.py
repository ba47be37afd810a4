"""Finds the faults of a config's datasets before they cost an epoch.

A check goes one way: `sources` (folders and lists), `splits` (pairs of files), `scan` (what is in
them), then the faults of `settings`, `files` and `labels`, which become `findings` and a `report`.
"""

from __future__ import annotations

from .checking import check_all, check_quickly
from .findings import Finding, Result, Severity
from .report import exit_code, format_report, to_json
from .settings import check_class_weights
from .sources import check_dataset_folders

__all__ = [
    'Finding',
    'Result',
    'Severity',
    'check_all',
    'check_class_weights',
    'check_dataset_folders',
    'check_quickly',
    'exit_code',
    'format_report',
    'to_json',
]
