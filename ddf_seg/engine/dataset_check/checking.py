"""Reads the splits of a config in parallel and judges them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from ...files import mapped
from ..dataset_files import source_faults
from ..errors import UsageError
from .files import Records, find_duplicates, find_extra_labels, find_file_faults
from .findings import Finding, Result, Severity
from .labels import find_label_faults
from .scan import Record, scan, scan_headers
from .settings import find_model_faults, find_setting_faults
from .splits import NAMES, Pair, Split, read_splits
from .statistics import count_classes

# Below this, starting processes takes longer.
_WORTH_PROCESSES = 16
# How many pairs of a split the quick form decodes: a second or two on one core.
SAMPLES = 24
# And how many more of those whose headers look as if they were damaged
_SUSPECTS = 200


def check_all(cfg: Config, processes: int) -> Result:
    """Read every file of every split, with a progress bar on stderr.

    Args:
        cfg: The config.
        processes: Number of processes.

    Raises:
        UsageError: If a dataset cannot be built, or a process is killed.
    """
    absent = [
        Finding(Severity.ERROR, fault.kind, name, fault.message)
        for name in NAMES
        for fault in source_faults(cfg, name)
    ]
    lost = {finding.split for finding in absent}
    splits = read_splits(cfg, tuple(name for name in NAMES if name not in lost))
    pairs = list(dict.fromkeys(pair for split in splits for pair in split.pairs))
    records = _read(scan, pairs, processes, 'Reading images and labels')
    result = _assess(cfg, splits, records)
    result.findings[:0] = absent
    return result


def check_quickly(cfg: Config, names: tuple[str, ...]) -> list[str]:
    """Make sure that all files are there and fit together, and that those of a sample are sound.

    Args:
        cfg: The config.
        names: Which splits, of 'train', 'val' and 'test'.

    Returns:
        The warnings.

    Raises:
        UsageError: If there is an error.
    """
    splits = read_splits(cfg, names)
    processes = min(4, os.cpu_count() or 1)
    pairs = list(dict.fromkeys(pair for split in splits for pair in split.pairs))
    records = _read(scan_headers, pairs, processes, 'Reading headers')
    suspects = [pair for pair, record in records.items() if record.looks_damaged][:_SUSPECTS]
    sampled = list(dict.fromkeys([*(p for split in splits for p in _sample(split)), *suspects]))
    records.update(_read(scan, sampled, processes, 'Reading a sample'))
    findings = _assess(cfg, splits, records).findings
    errors = [str(item) for item in findings if item.severity is Severity.ERROR]
    if errors:
        raise UsageError(
            f'the dataset has faults (all headers and {len(sampled)} of {len(pairs)} images were '
            f'read):\n  ' + '\n  '.join(errors) + '\n'
            'tools/check_dataset.py CONFIG reads them all; --cfg-options dataset_check=False '
            'leaves this check out.'
        )
    return [str(item) for item in findings]


def _sample(split: Split) -> Iterator[Pair]:
    """Pairs spread evenly over a split."""
    pairs = split.pairs
    number = min(SAMPLES, len(pairs))
    yield from (pairs[index * len(pairs) // number] for index in range(number))


def _read(
    function: Callable[[Pair], Record], pairs: Sequence[Pair], processes: int, what: str
) -> dict[Pair, Record]:
    # Processes that are spawned would import all of mmseg again, for seconds each.
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    context = multiprocessing.get_context(method)
    if len(pairs) < _WORTH_PROCESSES:
        processes = 1
    progress = Progress(console=Console(stderr=True), transient=True)
    try:
        with mapped(function, pairs, processes, context) as records, progress:
            tracked = progress.track(records, len(pairs), description=what)
            return dict(zip(pairs, tracked, strict=True))
    except OSError as error:
        raise UsageError(str(error)) from error


def _assess(cfg: Config, splits: Sequence[Split], records: Records) -> Result:
    result = Result(list(find_model_faults(cfg)), {}, {})
    for split in splits:
        statistics = count_classes(split, records)
        total = len(split.pairs)
        complete = statistics.images == total
        result.statistics[split.name], result.total[split.name] = statistics, total
        result.findings += find_setting_faults(cfg, split)
        result.findings += find_file_faults(split, records)
        result.findings += find_label_faults(split, records, statistics, complete)
        if complete:
            result.findings += find_extra_labels(split)
    result.findings += find_duplicates(splits, records)
    result.findings.sort(key=lambda finding: -finding.severity)
    return result
