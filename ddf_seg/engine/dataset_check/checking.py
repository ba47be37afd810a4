"""Walks the splits of a config in parallel."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from ..dataset_files import check_dataset_files, check_dataset_folders
from ..errors import UsageError
from .findings import Finding, Result, Severity, assess
from .scan import Record, scan
from .splits import NAMES, Pair, Split, read_splits

# Below this, starting processes takes longer.
_WORTH_PROCESSES = 16
# How many pairs of a split the quick form reads: a second or two on one core.
SAMPLES = 24


def check_all(cfg: Config, processes: int) -> Result:
    """Read every file of every split, with a progress bar on stderr.

    Args:
        cfg: The config.
        processes: Number of processes.
    """
    absent = []
    for name in NAMES:
        try:
            check_dataset_folders(cfg, (name,))
        except UsageError as error:
            absent.append(Finding(Severity.ERROR, 'missing-folder', name, str(error)))
    lost = {finding.split for finding in absent}
    splits = read_splits(cfg, tuple(name for name in NAMES if name not in lost))
    pairs = list(dict.fromkeys(p for split in splits for part in split.parts for p in part.pairs))
    with _scanning(pairs, processes) as records, Progress(console=Console(stderr=True)) as progress:
        tracked = progress.track(records, len(pairs), description='Reading images and labels')
        result = assess(splits, dict(zip(pairs, tracked, strict=True)))
    result.findings[:0] = absent
    return result


def check_quickly(cfg: Config, names: tuple[str, ...]) -> None:
    """Make sure that all files are there, and that those of a sample are sound.

    Args:
        cfg: The config.
        names: Which splits, of 'train', 'val' and 'test'.

    Raises:
        UsageError: If there is an error, not for warnings.
    """
    splits = read_splits(cfg, names)
    for split in splits:
        check_dataset_files(split.dataset)
    sampled = [pair for split in splits for pair in _sample(split)]
    with _scanning(sampled, min(4, os.cpu_count() or 1)) as records:
        result = assess(splits, dict(zip(sampled, records, strict=True)))
    errors = [item for item in result.findings if item.severity is Severity.ERROR]
    if errors:
        listed = ''.join(
            f'\n  {item.split}: {_with_file(item.message, item.files)}' for item in errors
        )
        raise UsageError(
            f'the dataset has faults (a sample of {len(sampled)} images was read):{listed}\n'
            'tools/check_dataset.py CONFIG reads them all; --cfg-options dataset_check=False '
            'leaves this check out.'
        )


def _with_file(message: str, files: Sequence[str]) -> str:
    return message if not files or files[0] in message else f'{message} ({files[0]})'


def _sample(split: Split) -> Iterator[Pair]:
    """Pairs spread evenly over a split."""
    pairs = [pair for part in split.parts for pair in part.pairs]
    number = min(SAMPLES, len(pairs))
    yield from (pairs[index * len(pairs) // number] for index in range(number))


@contextmanager
def _scanning(pairs: Sequence[Pair], processes: int) -> Iterator[Iterable[Record]]:
    if processes <= 1 or len(pairs) < _WORTH_PROCESSES:
        yield map(scan, pairs)
        return
    # Processes that are spawned would import all of mmseg again, for seconds each.
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    with multiprocessing.get_context(method).Pool(processes) as pool:
        yield pool.imap(scan, pairs, chunksize=4)
