"""The environment info that mmengine logs, and mmseg prints for bug reports."""

from __future__ import annotations

from pathlib import Path

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import mmengine.runner.runner as runner
import pytest
from processes import run_ok

from ddf_seg.ops import is_native_available, native


@pytest.mark.skipif(not is_native_available(), reason='the operators are not compiled here')
def test_says_which_instruction_set_is_used() -> None:
    """Wherever mmengine asks, also in modules that were imported before; mmseg's own, too."""
    code = """
import json
import mmengine.runner.runner as runner, mmengine._strategy.base as strategy
lines = [runner.collect_env().get('DDF operators')]
import ddf_seg.openmmlab, ddf_seg._compat, mmengine.utils.dl_utils as utils, mmseg.utils
ddf_seg._compat.apply()
lines += [where.collect_env()['DDF operators'] for where in (runner, strategy, utils, mmseg.utils)]
print(json.dumps(lines))
"""
    before, *after = run_ok(code, DDF_SEG_CPU_CAPABILITY='default')
    assert before is None
    assert after == ['compiled (CPU, default)'] * 4


def test_says_why_the_operators_run_in_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, 'library_path', lambda _: Path('none.so'))
    native.load.cache_clear()
    try:
        line = runner.collect_env()['DDF operators']
    finally:
        native.load.cache_clear()
    assert line.startswith('plain torch: ')
    assert 'none.so does not exist' in line
