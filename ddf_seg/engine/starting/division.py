"""Which pictures train and which validate, where a folder does not say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from ...errors import UsageError
from .layout import Pair

# Fewer frames than that are not worth a cut: the whole sequence goes to one side.
_LONG = 10


def divide(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Divides pictures into those that train and those that validate, always alike.

    Neighbouring frames of a video are nearly the same picture, so they must not end on both
    sides. Names that differ in their last number alone are taken for a sequence. The end of each
    long sequence validates; short ones stay whole.

    Args:
        pairs: the pictures, sorted by name.
        share: of those that validate, between 0 and 1.

    Raises:
        UsageError: there are fewer than two.
    """
    if len(pairs) < 2:
        raise UsageError(f'expected at least 2 pictures with masks, got {len(pairs)}')
    sequences: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        sequences[_sequence(pair.name)].append(pair)
    train: list[Pair] = []
    val: list[Pair] = []
    short: list[list[Pair]] = []
    for frames in sequences.values():
        frames.sort(key=lambda pair: (_number(pair.name), pair.name))
        if len(frames) < _LONG:
            short.append(frames)
            continue
        cut = len(frames) - max(1, round(share * len(frames)))
        train += frames[:cut]
        val += frames[cut:]
    # Every so many of the short ones, so that val has its share of all pictures.
    wanted = 0.0
    for frames in short:
        wanted += share * len(frames)
        if wanted >= len(frames) / 2 and wanted >= 0.5:
            val += frames
            wanted -= len(frames)
        else:
            train += frames
    for empty, full in ((val, train), (train, val)):
        if not empty:
            empty.append(full.pop())
    return sorted(train, key=_by_name), sorted(val, key=_by_name)


def _by_name(pair: Pair) -> str:
    return pair.name


def _sequence(name: str) -> str:
    """A name without the last number in it; one without a number is a sequence of its own."""
    found = re.search(r'\d+(?=\D*$)', name)
    return name[: found.start()] + '#' if found else name


def _number(name: str) -> int:
    found = re.search(r'\d+(?=\D*$)', name)
    return int(found.group()) if found else 0
