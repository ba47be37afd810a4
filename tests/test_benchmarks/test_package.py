"""ddf_benchmarks: importable wherever Python starts, and in no wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import ROOT

LOAD = """
import ddf_seg.openmmlab
from mmengine.config import Config
from mmengine.registry import MODELS
cfg = Config.fromfile({config!r})
cfg.dump('copy.py')
assert Config.fromfile('copy.py').to_dict() == cfg.to_dict()
layer = MODELS.build(dict(cfg.model.decode_head.upsample.layer, channels=8, scale_factor=2))
print(type(layer).__name__)
"""


def test_configs_of_the_study_load_from_anywhere(tmp_path: Path) -> None:
    """With what they name, and so does the copy that a run leaves in its work dir."""
    code = LOAD.format(config=str(ROOT / 'configs/study/carafe.py'))
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != 'PYTHONPATH'},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f'{done.stderr}\nis ddf_seg installed with -e (make setup)?'
    assert done.stdout.splitlines()[-1] == 'Carafe'


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
