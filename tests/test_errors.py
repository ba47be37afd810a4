"""What messages are made of."""

from __future__ import annotations

from ddf_seg.errors import counted, listed, listed_below


def test_one_or_more() -> None:
    assert [counted(n, 'mask') for n in (0, 1, 2)] == ['0 masks', '1 mask', '2 masks']
    assert counted(1, 'class', 'classes') == '1 class'
    assert counted(3, 'class', 'classes') == '3 classes'


def test_what_is_left_out_is_counted() -> None:
    assert listed('abcde') == 'a, b, c, d, e'
    assert listed('abcdef') == 'a, b, c, d, e and 1 more'
    assert listed_below([1, 2], 2) == '\n  1\n  2'
    assert listed_below([1, 2, 3, 4], 2) == '\n  1\n  2\n  … and 2 more'
