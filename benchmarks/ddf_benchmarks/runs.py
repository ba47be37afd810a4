"""What trainings that are compared share: one start, results as files, paired differences."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scipy.stats import ttest_rel
from torch import Tensor, nn

from ddf_seg.errors import UsageError
from ddf_seg.files import write_whole

CONFIDENCE = 0.95


def start_alike(network: nn.Module, start: Mapping[str, Tensor]) -> None:
    """Gives a network what it shares with another row's start, by name and shape."""
    own = network.state_dict()
    shared = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
    network.load_state_dict({**own, **shared})


def write_result(file: Path, entry: Mapping[str, Any]) -> None:
    """Writes what a run left, whole or not at all; the folder is made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(entry, indent=1) + '\n').encode())


def check_lengths(results: Path, lengths: Iterable[int]) -> None:
    """Makes sure that the runs that are compared were trained for as many iterations.

    Args:
        results: the folder, for the message.
        lengths: of the runs; 0 for what is not trained.

    Raises:
        UsageError: they differ.
    """
    if len(found := sorted(set(lengths) - {0})) > 1:
        raise UsageError(
            f'{results}: expected runs of one number of iterations, got some of '
            f'{" and of ".join(map(str, found))}'
        )


def check_length(file: Path, found: int, expected: int) -> None:
    """Makes sure that a result that is there is that of the run that is asked for.

    Raises:
        UsageError: it is of another number of iterations.
    """
    if found != expected:
        raise UsageError(
            f'{file}: expected the result of {expected} iterations, got one of {found}; --results '
            'names another folder'
        )


def difference(
    ours: Mapping[Any, dict[str, Any]], theirs: Mapping[Any, dict[str, Any]], score: str
) -> tuple[float, tuple[float, float] | None]:
    """The mean difference of a score over the runs that both have, and its 95 % interval.

    The interval is Student's, of the runs' differences; None for fewer than two.
    """
    shared = sorted(ours.keys() & theirs.keys())
    pairs = [[runs[key]['scores'][score] for key in shared] for runs in (ours, theirs)]
    mean = statistics.fmean(a - b for a, b in zip(*pairs, strict=True))
    if len(shared) < 2:
        return mean, None
    low, high = ttest_rel(*pairs).confidence_interval(CONFIDENCE)
    return mean, (float(low), float(high))


def difference_cell(
    ours: Mapping[Any, dict[str, Any]],
    theirs: Mapping[Any, dict[str, Any]],
    score: str,
    digits: int,
) -> str:
    """The difference as a table shows it; empty for a row to itself, or without a common run."""
    if ours is theirs or not ours.keys() & theirs.keys():
        return ''
    mean, interval = difference(ours, theirs, score)
    between = '' if interval is None else ' [{:+.{d}f}, {:+.{d}f}]'.format(*interval, d=digits)
    return f'{mean:+.{digits}f}{between}'
