"""Judges a config's datasets: sources, then splits, then what is in their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from mmengine.config import Config

from ....errors import UsageError
from .files import find_duplicates, find_extra_labels, find_file_faults
from .findings import Finding, Result, Severity
from .labels import find_label_faults
from .scan import Records, read_all, scan, scan_headers
from .settings import find_model_faults, find_setting_faults
from .sources import source_faults
from .splits import NAMES, Pair, Split, read_splits
from .statistics import count_classes

# How many pairs of a split the quick form decodes: a second or two on one core.
SAMPLES = 24
# And how many more of those whose headers look as if they were damaged
_SUSPECTS = 200


def check_all(cfg: Config, processes: int) -> Result:
    """Reads every file of every split, with a progress bar on stderr.

    Args:
        cfg: the config.
        processes: number of processes.

    Raises:
        UsageError: a dataset cannot be built, or a process is killed.
    """
    absent = [
        Finding(Severity.ERROR, fault.kind, name, fault.message)
        for name in NAMES
        for fault in source_faults(cfg, name)
    ]
    lost = {finding.split for finding in absent}
    splits = read_splits(cfg, [name for name in NAMES if name not in lost])
    pairs = (pair for split in splits for pair in split.pairs)
    records = read_all(scan, pairs, processes, 'Reading images and labels')
    return _judge(cfg, splits, records, absent)


def check_quickly(cfg: Config, names: Sequence[str]) -> list[str]:
    """Makes sure that all files are there and fit together, and that those of a sample are sound.

    Args:
        cfg: the config.
        names: which splits, of 'train', 'val' and 'test'.

    Returns:
        The warnings.

    Raises:
        UsageError: there is an error.
    """
    splits = read_splits(cfg, names)
    processes = min(4, os.cpu_count() or 1)
    pairs = (pair for split in splits for pair in split.pairs)
    records = read_all(scan_headers, pairs, processes, 'Reading headers')
    suspects = [pair for pair, record in records.items() if record.looks_damaged][:_SUSPECTS]
    sample = [*(pair for split in splits for pair in _sample(split)), *suspects]
    sampled = read_all(scan, sample, processes, 'Reading a sample')
    findings = _judge(cfg, splits, {**records, **sampled}).findings
    errors = [str(item) for item in findings if item.severity is Severity.ERROR]
    if errors:
        raise UsageError(
            f'the dataset has faults (all headers and {len(sampled)} of {len(records)} images were '
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


def _judge(
    cfg: Config, splits: Sequence[Split], records: Records, absent: Sequence[Finding] = ()
) -> Result:
    """What the records tell, behind the faults of splits that are not there at all."""
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
    result.findings[:0] = absent
    return result
