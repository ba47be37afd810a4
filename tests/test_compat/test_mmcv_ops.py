"""mmcv without its compiled operators; the defect is shown before its mend."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from openmmlab_toy import MMCV_HAS_OPS
from processes import run_loaded, run_ok

from ddf_seg._compat import mmcv_ops


@pytest.mark.skipif(MMCV_HAS_OPS, reason='this mmcv has its compiled operators')
def test_missing_ops() -> None:
    result = run_loaded('import mmcv.ops')  # as mmseg.models does
    assert "No module named 'mmcv._ext'" in result.stderr

    import mmseg.models  # noqa: F401
    from mmcv.ops import PSAMask

    assert importlib.import_module('mmcv._ext').__spec__.loader is None
    with pytest.raises(NotImplementedError, match=r"'psamask_forward' .* mmcv-lite"):
        PSAMask('collect', (2, 2))(torch.rand(1, 4, 2, 2))
    with pytest.raises(AttributeError):
        importlib.import_module('mmcv._ext').__path__  # noqa: B018


@pytest.mark.parametrize(
    ('source', 'outcome'),
    [('real = True', 'real'), ("raise ImportError('undefined symbol')", 'undefined symbol')],
)
def test_existing_ops_are_left_alone(tmp_path: Path, source: str, outcome: str) -> None:
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').write_text(source)
    needed, message = run_ok(
        f"""
        import json, runpy
        needed = runpy.run_path({str(mmcv_ops.__file__)!r})['mend_missing_ops']()
        try:
            import mmcv._ext
            message = 'real' if mmcv._ext.real else ''
        except ImportError as error:
            message = str(error)
        print(json.dumps([needed, message]))
        """,
        path=tmp_path,
    )
    assert needed is False
    assert message == outcome
