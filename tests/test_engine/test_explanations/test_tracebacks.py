"""What the frames know of an error; and that nothing else asks them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ddf_seg
from ddf_seg.engine.explanations.tracebacks import innermost_value, variables_of


def build(name: str, depth: int) -> None:
    if depth:
        build(f'{name}{depth}', depth - 1)
    key = f'key of {name}'
    raise KeyError(key)


def fail(layer: str) -> None:
    build(layer, 2)


def test_the_innermost_call_counts() -> None:
    with pytest.raises(KeyError) as caught:
        fail('conv')
    error = caught.value
    assert variables_of(error, 'build')['name'] == 'conv21'
    assert variables_of(error, 'fail') == {'layer': 'conv'}
    assert variables_of(error, 'another') == {}
    assert innermost_value(error, 'key') == 'key of conv21'
    assert innermost_value(error, 'layer') == 'conv'
    assert innermost_value(error, 'another') is None


def test_explanations_alone_walk_tracebacks() -> None:
    root = Path(ddf_seg.__file__).parent
    walks = re.compile(r'\b(walk_tb|extract_tb|__traceback__|tb_frame|tb_next)\b')
    walkers = {
        file.relative_to(root).parent.as_posix()
        for file in root.rglob('*.py')
        if walks.search(file.read_text())
    }
    assert walkers == {'engine/explanations'}
