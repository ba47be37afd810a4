"""What the tests of exported networks share besides fixtures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scripts import ROOT

from ddf_seg.deployment.network import Metadata

CONFIG = ROOT / 'configs' / 'ddf_camvid_trainval_finetune.py'
CHECKPOINT = ROOT / 'checkpoints' / 'ddf_camvid.pth'
SIZE = (75, 99)  # both are padded


@dataclass
class Shipped:
    """The shipped network: as a segmentor, exported with scores, and what it says of itself."""

    model: Any
    onnx: Path
    program: torch.export.ExportedProgram
    metadata: Metadata


def assert_agree(found: np.ndarray, expected: np.ndarray) -> None:
    """Scores (classes, H, W) are within 1e-4 of the range, and the classes equal but for ties."""
    allowed = 1e-4 * (expected.max() - expected.min())
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < allowed
    first, second = np.sort(expected, axis=0)[[-1, -2]]
    differ = found.argmax(0) != expected.argmax(0)
    assert not (differ & (first - second > 2 * allowed)).any()


def run_without(packages: list[str], code: str, folder: Path) -> None:
    """Runs code in an interpreter where importing some packages fails."""
    hidden = '; '.join(f'sys.modules[{name!r}] = None' for name in packages)
    done = subprocess.run(
        [sys.executable, '-c', f'import sys; {hidden}\n{code}'],
        cwd=folder,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
