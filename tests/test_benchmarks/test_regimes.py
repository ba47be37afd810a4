"""benchmark_op's section on memory: each allocator in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from ddf_benchmarks import measure
from ddf_benchmarks.op_benchmark import cases, regimes

CPU = torch.device('cpu')


def test_each_call_is_timed_in_each_regime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regimes, 'regimes', lambda: {'glibc': {}, regimes.WARM: {}})
    settings = measure.Settings(CPU, seconds=0.01, threads=1)
    ceilings = measure.Ceilings(fma_rate=1e9, bandwidth=1e9, cache=1 << 20)
    maps = [cases.Case((1, 16, 6, 5), torch.float32, CPU, scale=scale) for scale in (1, 2)]
    rows = list(regimes.regime_rows(settings, ceilings, maps))
    operators_timed = ('ddf, forward', 'ddf, backward', 'ddf_upsample ×2, k = 3, forward')
    wanted = [(each, memory) for each in operators_timed for memory in ('glibc', 'tcmalloc')]
    assert [(row.cells['operator'], row.cells['memory']) for row in rows] == wanted
    for row in rows:
        assert bool(row.checks) is (row.cells['memory'] == 'tcmalloc')
        for what in ('both', 'spatial'):
            ratio = float(row.cells[f'{what} ms']) / float(row.cells['baseline ms'])
            assert row.cells[f'{what} of baseline'] == pytest.approx(ratio)


def test_an_allocator_that_is_not_loaded_is_not_timed(capfd: pytest.CaptureFixture[str]) -> None:
    settings = measure.Settings(CPU, seconds=0.01, threads=1)
    with pytest.raises(RuntimeError, match='has died'):
        regimes._in_a_process({'LD_PRELOAD': 'libnowhere.so'}, settings, [])
    assert 'expected libnowhere.so to be loaded' in capfd.readouterr().err


def test_a_regime_has_its_own_allocator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('LD_PRELOAD', 'libother.so')
    monkeypatch.setenv('MALLOC_ARENA_MAX', '1')
    monkeypatch.setenv('TCMALLOC_SAMPLE_PARAMETER', '1')
    before = dict(os.environ)
    with regimes.environment({'MALLOC_TOP_PAD_': '5'}):
        gone = set(before) - set(os.environ)
        assert gone == {'LD_PRELOAD', 'MALLOC_ARENA_MAX', 'TCMALLOC_SAMPLE_PARAMETER'}
        child = [sys.executable, '-c', 'import os; print(os.environ["MALLOC_TOP_PAD_"])']
        assert subprocess.run(child, capture_output=True, check=True).stdout == b'5\n'
    assert dict(os.environ) == before
