"""Threads that wait for each other beside other processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch


def openmps_settings(code: str, **given: str) -> dict[str, str]:
    """What OpenMP's library says of itself when the code has it loaded."""
    clean = {key: os.environ[key] for key in os.environ if 'OMP' not in key}
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env={**clean, **given, 'OMP_DISPLAY_ENV': 'VERBOSE'},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    settings = dict(re.findall(r"(\w+) = '(\w*)'", result.stderr))
    if 'GOMP_SPINCOUNT' not in settings:
        pytest.skip(f"torch's OpenMP is not libgomp: {sorted(settings)[:5]}")
    return settings


def test_openmp_is_told_before_torch_loads_it() -> None:
    """The import ends with mmengine's first module that is asked for after torch."""
    settings = openmps_settings("""
import sys
sys.modules['mmengine.model'] = None
try:
    import ddf_seg.openmmlab
except ImportError:
    assert 'torch' in sys.modules
""")
    assert settings['GOMP_SPINCOUNT'] == '3000'
    assert settings['OMP_WAIT_POLICY'] == 'PASSIVE'


@pytest.mark.parametrize(
    ('given', 'spins', 'policy'),
    [
        ({}, '3000', 'PASSIVE'),
        ({'OMP_WAIT_POLICY': 'active'}, '30000000000', 'ACTIVE'),
        ({'GOMP_SPINCOUNT': '77'}, '77', 'PASSIVE'),
    ],
)
def test_what_the_user_has_set_stays(given: dict[str, str], spins: str, policy: str) -> None:
    """The library alone, of the torch that this process has loaded."""
    assert torch.get_num_threads() > 0
    maps = Path('/proc/self/maps')
    lines = maps.read_text().splitlines() if maps.exists() else []
    library = next((line.split(maxsplit=5)[5] for line in lines if 'libgomp' in line), None)
    if library is None:
        pytest.skip("torch's OpenMP is not libgomp")
    code = f'import ddf_seg.threads, ctypes; ctypes.CDLL({library!r})'
    settings = openmps_settings(code, **given)
    assert settings['GOMP_SPINCOUNT'] == spins
    assert settings['OMP_WAIT_POLICY'] == policy
