"""How far is read ahead, and how much waits to be written."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from ddf_seg.engine.predicting import background
from ddf_seg.engine.predicting.background import Writer, read_ahead


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, 'ROOM', 100)


@pytest.mark.parametrize('guess', [0, 60])
def test_no_more_is_read_ahead_than_there_is_room_for(guess: int) -> None:
    sizes = [60, 60, 40, 40, 10, 10, 10, 10, 10, 300, 10, 10]
    ahead, results = [], []
    begun: list[int] = []

    def read(index: int) -> int:
        begun.append(index)
        return sizes[index]

    def at_most(index: int) -> int:
        return max(guess, sizes[index]) if guess else 0

    with read_ahead(read, range(len(sizes)), int, at_most, depth=3, threads=2) as files:
        for index, future in files:
            results.append(future.result())
            ahead.append(sum(sizes[i] for i in begun if i > index))
            assert len(begun) <= index + 1 + 3
    assert results == sizes
    assert sorted(begun) == list(range(len(sizes)))
    if guess:
        # What is read is never more than was guessed.
        assert max(ahead) <= 100


def test_small_items_are_read_ahead() -> None:
    """While the first is worked on, as many as the depth says."""
    third = threading.Event()

    def read(index: int) -> int:
        if index == 2:
            third.set()
        return 10

    with read_ahead(read, range(9), int, lambda _: 10, depth=2) as files:
        next(files)
        assert third.wait(60)


def test_large_results_are_written_before_others_come() -> None:
    done: list[int] = []
    may_end = threading.Event()

    def write(index: int) -> int:
        assert may_end.wait(60)
        return index

    def note(future: Future[int]) -> None:
        done.append(future.result())

    with Writer(4) as writer:
        for index in range(2):
            writer.submit(40, note, write, index)
        # 80 bytes wait, and that is allowed.
        assert done == []
        may_end.set()
        writer.submit(40, note, write, 2)
        assert done == [0]
        writer.submit(500, note, write, 3)
        assert done == [0, 1, 2, 3]
