"""ddf_benchmarks is in no wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import ROOT


def test_a_wheel_holds_the_plugin_and_the_scenes(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, 'DDF_SEG_BUILD_NATIVE': '0'},
        capture_output=True,
        timeout=300,
        check=True,
    )
    assert {path.name for path in tmp_path.iterdir()} == {'ddf_seg', 'road_scenes'}
    sources = {path.relative_to(ROOT) for path in (ROOT / 'ddf_seg').rglob('*.py')}
    assert sources <= {path.relative_to(tmp_path) for path in tmp_path.rglob('*.py')}
