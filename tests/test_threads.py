"""Threads that wait for each other beside other processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ('given', 'spins', 'policy'),
    [
        ({}, '3000', 'PASSIVE'),
        ({'OMP_WAIT_POLICY': 'active'}, '30000000000', 'ACTIVE'),
        ({'GOMP_SPINCOUNT': '77'}, '77', 'PASSIVE'),
    ],
)
def test_openmp_is_told_before_torch_loads_it(
    given: dict[str, str], spins: str, policy: str
) -> None:
    """By what the library itself says, which has the user's settings where there are some."""
    clean = {key: os.environ[key] for key in os.environ if 'OMP' not in key}
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', 'import ddf_seg.openmmlab'],
        env={**clean, **given, 'OMP_DISPLAY_ENV': 'VERBOSE'},
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    settings = dict(re.findall(r"(\w+) = '(\w*)'", result.stderr))
    if 'GOMP_SPINCOUNT' not in settings:
        pytest.skip(f"torch's OpenMP is not libgomp: {sorted(settings)[:5]}")
    assert settings['GOMP_SPINCOUNT'] == spins
    assert settings['OMP_WAIT_POLICY'] == policy
