"""Which pictures validate: neighbours in a video stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddf_seg.engine.starting.division import divide
from ddf_seg.engine.starting.layout import Pair
from ddf_seg.errors import UsageError


def pairs(names: list[str]) -> list[Pair]:
    return [Pair(name, Path(name), Path(name)) for name in sorted(names)]


def names(found: list[Pair]) -> list[str]:
    return [pair.name for pair in found]


def test_the_end_of_each_sequence_validates() -> None:
    drives = [f'a_{i}' for i in range(5, 25)] + [f'b_{i:04d}_left' for i in range(10)]
    train, val = divide(pairs(drives), 0.2)
    # By number, not by letters: a_9 comes before a_10.
    assert set(names(val)) == {'a_21', 'a_22', 'a_23', 'a_24', 'b_0008_left', 'b_0009_left'}
    assert sorted(names(train) + names(val)) == sorted(drives)


def test_short_sequences_stay_whole() -> None:
    clips = [f'clip{c}_{i}' for c in 'abcdefghij' for i in range(3)]
    train, val = divide(pairs(clips), 0.2)
    assert not {name[:5] for name in names(train)} & {name[:5] for name in names(val)}
    assert len(val) == 6


def test_single_pictures_are_spread() -> None:
    found = [f'{letter}{other}' for letter in 'abcdefghij' for other in 'klmnopqrst']
    train, val = divide(pairs(found), 0.2)
    assert len(val) == 20
    assert {name[0] for name in names(val)} == set('abcdefghij')
    assert divide(pairs(found), 0.2) == (train, val)


def test_both_sides_have_a_picture() -> None:
    assert [len(side) for side in divide(pairs(['a1', 'a2']), 0.01)] == [1, 1]
    with pytest.raises(UsageError, match='at least 2'):
        divide(pairs(['a1']), 0.5)
