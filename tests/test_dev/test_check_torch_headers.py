"""The lint that keeps the native code off torch's unstable headers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import ROOT

OPS = ROOT / 'ops'


def check(ops: Path) -> subprocess.CompletedProcess[str]:
    tool = ROOT / 'dev/check_torch_headers.py'
    return subprocess.run(
        [sys.executable, tool, ops], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def ops(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OPS, tmp_path / 'ops'))


def test_our_own_sources_pass() -> None:
    result = check(OPS)
    assert (result.returncode, result.stderr) == (0, '')


@pytest.mark.parametrize(
    ('file', 'header'),
    [
        ('kernels/cpu/vec.h', '<torch/csrc/stable/tensor.h>'),
        ('kernels/cpu/vec.h', '"torch/headeronly/core/ScalarType.h"'),
        ('kernels/new/deep.cuh', '<c10/util/BFloat16.h>'),
        ('kernels/cpu/kernels.cpp', '<Python.h>'),
        ('binding/ddf_cpu.cpp', '<torch/extension.h>'),
        ('binding/ddf_cpu.cpp', '<torch/csrc/autograd/variable.h>'),
        ('binding/checks.h', '<ATen/ATen.h>'),
        ('binding/new.cu', '<c10/cuda/CUDAStream.h>'),
        ('binding/new.cu', '<torch/csrc/inductor/aoti_torch/c/shim.hpp>'),
    ],
)
def test_catches_a_planted_header(ops: Path, file: str, header: str) -> None:
    path = ops / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text() if path.exists() else ''
    path.write_text(f'{before}\n  #  include {header}  // planted\n')
    result = check(ops)
    assert result.returncode == 1
    assert result.stderr.startswith(f'{path}:{before.count(chr(10)) + 2}: {header[1:-1]}: ')
    assert result.stderr.count('\n') == 1


def test_lets_the_stable_abi_and_comments_pass(ops: Path) -> None:
    (ops / 'binding/new.h').write_text(
        '#include <torch/csrc/inductor/aoti_torch/c/shim.h>\n'
        '#include <torch/csrc/stable/accelerator.h>\n'
        '#include "torch/headeronly/util/Exception.h"\n'
        '#include <vector>\n'
        '// #include <ATen/ATen.h>\n'
    )
    assert check(ops).returncode == 0


def test_a_folder_without_sources_is_an_error(tmp_path: Path) -> None:
    result = check(tmp_path)
    assert result.returncode == 1
    assert 'expected a folder with kernels/ and binding/' in result.stderr
