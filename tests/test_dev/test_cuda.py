"""nvcc's own word on the CUDA kernels, for one architecture, where nvcc is on the machine."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from scripts import ROOT, load_script

cuda_report = load_script('dev/cuda_report.py')
cuda_predict = load_script('dev/cuda_predict.py')

REPORT = """
ptxas info    : Compiling entry function '_ZN3ddf4cuda12filter_pixelI6__halfLi5ELb1EEEvNS0_4WorkE' \
for 'sm_120'
ptxas info    : Function properties for _ZN3ddf4cuda12filter_pixelI6__halfLi5ELb1EEEvNS0_4WorkE
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 8 bytes cumulative stack size
ptxas info    : Compiling entry function '_ZN3ddf4cuda10filter_anyI6__halfLb0EEEvNS0_4WorkE' \
for 'sm_120'
ptxas info    : Function properties for _ZN3ddf4cuda10filter_anyI6__halfLb0EEEvNS0_4WorkE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
"""


def test_reads_what_ptxas_says() -> None:
    special, generic = cuda_report.read_report(REPORT, 'float16')
    assert special == cuda_report.Kernel('12.0', 'float16', 'filter_pixel<5, mul>', 80, 8, 28, True)
    assert generic == cuda_report.Kernel('12.0', 'float16', 'filter_any<add>', 255, 0, 0, False)
    # 80 registers: 6 blocks of 128 threads of 1536; 255 are allocated as 256: 2 blocks.
    assert special.occupancy == 768 / 1536
    assert generic.occupancy == 256 / 1536


def test_spills_and_growth_are_faults() -> None:
    kernels = list(cuda_report.read_report(REPORT, 'float16'))
    baseline = {kernels[0].key: 80, kernels[1].key: 254}
    spilled, grown = cuda_report.faults(kernels, baseline)
    assert '28 bytes spilled' in spilled
    assert '255 registers, 254 in' in grown
    (_, _, missing) = cuda_report.faults(kernels, {kernels[0].key: 79})
    assert 'not in cuda_baseline.json' in missing


@pytest.mark.skipif(
    cuda_report.find_tool('nvcc') is None, reason='no nvcc here: the CUDA kernels are not compiled'
)
def test_kernels_compile_without_spills_or_warnings() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / 'dev/cuda_report.py'), '--architectures', '9.0'],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'\| filter_pixel_vectors<3, mul> +\| float32 +\|', done.stdout)


def test_prediction_moves_each_tensor_once() -> None:
    """2×256×200×300 float32: features and output, and 9 maps of the spatial filter."""
    case = cuda_predict.Case((2, 256, 200, 300))
    assert case.least == 4 * 2 * 200 * 300 * (2 * 256 + 9)
    turing = cuda_predict.DEVICES[0]
    forward = next(iter(cuda_predict.passes(case)))
    seconds, bound = forward.seconds(case, turing, case.least)
    assert bound == 'bytes'
    assert seconds == pytest.approx(case.least / (0.85 * 616e9))


def test_prediction_of_what_blocks_ask_for() -> None:
    """2×256×200×300: 16 threads of 4 pixels by 8 rows; 8 blocks of 32 channels share a tile."""
    case = cuda_predict.Case((2, 256, 200, 300))
    assert case.tile(4) == (8, 64)
    assert case.chunks(4) == 8
    forward = next(iter(cuda_predict.passes(case)))
    one_map, spatial = 4 * 2 * 256 * 200 * 300, 4 * 2 * 9 * 200 * 300
    halo = (10 / 8) * (64 * 4 + 64) / (64 * 4)
    assert forward.asked == pytest.approx(one_map * (1 + halo) + 8 * spatial)
