"""nvcc's own word on the CUDA kernels, for one architecture, where nvcc is on the machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from scripts import ROOT, load_script

import cuda_sass

cuda_report = load_script('dev/cuda_report.py')

REPORT = """
ptxas info    : Compiling entry function '{symbol}' \
for 'sm_120'
ptxas info    : Function properties for {symbol}
    8 bytes stack frame, 12 bytes spill stores, 16 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 8 bytes cumulative stack size
ptxas info    : Compiling entry function '_ZN3ddf4cuda10filter_anyI6__halfLb0EEEvNS0_4WorkE' \
for 'sm_120'
ptxas info    : Function properties for _ZN3ddf4cuda10filter_anyI6__halfLb0EEEvNS0_4WorkE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers
""".format(symbol='_ZN3ddf4cuda11filter_rowsI6__halfLi5ELNS_7CombineE0ELb1ELi2EEEvNS0_4WorkE')


def test_reads_what_ptxas_says() -> None:
    special, generic = cuda_report.read_report(REPORT, 'float16')
    assert special == cuda_report.Kernel(
        '12.0', 'float16', 'filter_rows<5, mul, transposed, 2>', 80, 8, 28, True
    )
    assert generic == cuda_report.Kernel('12.0', 'float16', 'filter_any<add>', 255, 0, 0, False)
    # 80 registers: 6 blocks of 128 threads of 1536; 255 are allocated as 256: 2 blocks.
    assert special.occupancy == 768 / 1536
    assert generic.occupancy == 256 / 1536


def test_names_of_kernels() -> None:
    """Of those whose constants say something else than how filters are combined."""
    symbol = '_ZN3ddf4cuda11norm_filterI13__nv_bfloat16Li5ELb{}EEEvNS0_8NormWorkE'
    assert cuda_report.readable(symbol.format(1)) == ('norm_filter<5, learned>', 5)
    assert cuda_report.readable(symbol.format(0)) == ('norm_filter<5>', 5)
    symbol = '_ZN3ddf4cuda8upsampleIdLNS_7CombineE2EEEvNS0_4WorkE'
    assert cuda_report.readable(symbol) == ('upsample<3, spatial>', 3)
    symbol = '_ZN3ddf4cuda14softmax_filterIfLi3ELNS0_7ReadingE1EEEvNS0_11SoftmaxWorkE'
    assert cuda_report.readable(symbol) == ('softmax_filter<3, channels>', 3)
    symbol = '_ZN3ddf4cuda15norm_filter_anyIfEEvNS0_8NormWorkE'
    assert cuda_report.readable(symbol) == ('norm_filter_any', 0)


def test_spills_and_growth_are_faults() -> None:
    kernels = [
        replace(k, architecture='9.0', instructions=40.5)
        for k in cuda_report.read_report(REPORT, 'float16')
    ]
    baseline = {kernels[0].key: [80, 40], kernels[1].key: [254, 41]}
    spilled, longer, grown = cuda_report.faults(kernels, baseline)
    assert '28 bytes spilled' in spilled
    assert '40.5 instructions an element, 40 in' in longer
    assert '255 registers, 254 in' in grown
    (_, missing) = cuda_report.faults(kernels, {kernels[0].key: [80, 41]})
    assert 'not in cuda_baseline.json' in missing


def test_a_spill_stands_by_name_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    special, _ = cuda_report.read_report(REPORT, 'float16')
    for allowed, found in ((28, 0), (27, 1)):
        monkeypatch.setattr(cuda_report, 'SPILLS', {special.key: (allowed, 'so it is')})
        assert len(list(cuda_report.faults([special], {}))) == found
    monkeypatch.setattr(cuda_report, 'SPILLS', {special.key.replace('12.0', '10.0'): (28, '')})
    (spilled,) = cuda_report.faults([special], {})
    assert '28 bytes spilled' in spilled


# A loop in a loop: the inner one from 0x20 to 0x70 has a branch to 0x60 within.
SASS = """
	code for sm_90
		Function : _ZN3ddf4cuda11filter_rowsIfLi3ELNS_7CombineE0ELb0ELi4EEEvNS0_4WorkE
	.headerflags	@"EF_CUDA_SM90"
        /*0000*/                   MOV R1, c[0x0][0x28] ;            /* 0x00000a00ff017b82 */
                                                                     /* 0x000fe20000000800 */
        /*0010*/                   LDG.E.128 R4, desc[UR4][R2.64] ;  /* 0x00000a00ff017b82 */
        /*0020*/                   FFMA R0, R1, R2, R3 ;             /* 0x00000a00ff017b82 */
        /*0030*/               @P0 FFMA R0, R1, R2, R3 ;             /* 0x00000a00ff017b82 */
        /*0040*/              @!P1 BRA 0x60 ;                        /* 0x00000a00ff017b82 */
        /*0050*/                   FMUL R0, R1, R2 ;                 /* 0x00000a00ff017b82 */
        /*0060*/                   BRA.DIV UR7, 0x90 ;               /* 0x00000a00ff017b82 */
        /*0070*/               @P2 BRA 0x20 ;                        /* 0x00000a00ff017b82 */
        /*0080*/               @P3 BRA 0x10 ;                        /* 0x00000a00ff017b82 */
        /*0090*/                   BRA 0x90;                         /* 0x00000a00ff017b82 */
"""


def test_counts_the_innermost_loop_of_the_machine_code() -> None:
    (function,) = cuda_sass.read(SASS)
    assert (function.architecture, len(function.code)) == ('9.0', 10)
    loop = function.main_loop
    assert loop is not None
    assert (len(loop.instructions), loop.multiply_adds) == (6, 2)
    assert loop.branches == ['@!P1 BRA 0x60']
    # A quarter of an element, which counts as one.
    assert cuda_report.instructions_each(function) == 6
    branches, no_store = cuda_report.sass_faults(function, 'float32')
    assert branches == (
        '9.0 float32 filter_rows<3, mul, 4>: branches in the innermost loop: @!P1 BRA 0x60'
    )
    assert no_store.endswith('no 128-bit STG')


@pytest.mark.parametrize(
    ('address', 'allowed', 'fault'),
    [
        ('0010', False, 'local memory in the machine code'),
        ('0010', True, ''),
        ('0050', False, 'local memory in the innermost loop'),
        ('0050', True, 'local memory in the innermost loop'),
    ],
)
def test_no_spill_may_be_in_the_innermost_loop(
    address: str, allowed: bool, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (function,) = cuda_sass.read(re.sub(rf'(/\*{address}\*/ +)[^;]*', r'\1LDL R2, [R1] ', SASS))
    key = '9.0 float32 filter_rows<3, mul, 4>'
    monkeypatch.setattr(cuda_report, 'SPILLS', {key: (8, 'so it is')} if allowed else {})
    faults = [each for each in cuda_report.sass_faults(function, 'float32') if 'local' in each]
    assert faults == ([f'{key}: {fault}'] if fault else [])


def test_a_row_of_taps_is_a_third_of_the_elements() -> None:
    """Three multiply-adds are a row of 3×3 taps."""
    symbol = '_ZN3ddf4cuda15filter_channelsIfLi3ELNS_7CombineE0ELb1EEEvNS0_4WorkE'
    listing = re.sub(r'Function : \w+', f'Function : {symbol}', SASS)
    (function,) = cuda_sass.read(listing.replace('FMUL', 'FFMA').replace('LDG.E.128', 'FFMA'))
    assert function.main_loop is not None
    assert function.main_loop.multiply_adds == 3
    assert cuda_report.instructions_each(function) == 3 * len(function.main_loop.instructions)


@pytest.mark.skipif(
    cuda_report.find_tool('nvcc') is None, reason='no nvcc here: the CUDA kernels are not compiled'
)
def test_kernels_compile_without_spills_or_warnings() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / 'dev/cuda_report.py'), '--architectures', '9.0'),
            *('--dtypes', 'float32'),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'\| filter_rows<3, mul, 4> +\| float32 +\|', done.stdout)


def test_the_aims_on_paper() -> None:
    """Instructions an element, of kernels that networks use; nothing spills (the test above)."""
    counts = json.loads(cuda_report.BASELINE.read_text())
    for key, (_, instructions) in counts.items():
        _, dtype, name = key.split(' ', 2)
        if dtype != 'float32' or '<3' not in name or 'any' in name:
            continue
        if name.startswith('norm'):  # of a filter
            assert instructions <= 9 * 24, f'{key}: {instructions}'
            continue
        # A group of few channels leaves half of a warp's sums without work.
        most = 80 if name.endswith('2>') else 62 if name.startswith('grad') else 52
        assert instructions <= most, f'{key}: {instructions}'
