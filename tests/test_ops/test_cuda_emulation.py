"""The CUDA kernels themselves, run on the CPU by emulation, against the plain-torch reference."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from assertions import is_channels_last_only
from cases import LAYOUTS, Call
from cuda_cases import CALLS, LARGE, ONE_FILTER, assert_expected, call_of, expected, tensors_of
from cuda_emulated import (
    DTYPES,
    EACH_DTYPE,
    ROOT,
    SANITIZED,
    SANITIZERS,
    SLOW_DTYPES,
    Emulation,
    Request,
    build,
    compiler_missing,
    run_program,
)
from torch import Tensor

pytestmark = pytest.mark.skipif(bool(compiler_missing()), reason=compiler_missing())


def assert_agrees(emulation: Emulation, call: Call, dtype: torch.dtype) -> None:
    inputs, upstream = tensors_of(call, dtype)
    for gradient in (None, upstream):
        results = emulation.run(Request.of(call, inputs, gradient))
        assert_expected(call, inputs, results, gradient)


# Of 16 bits, the loops are those of 32 with other reads and writes: a third of the calls has all.
@pytest.mark.parametrize(
    ('call', 'dtype'),
    [
        pytest.param(
            *(call, dtype),
            marks=pytest.mark.slow
            if dtype in SLOW_DTYPES or (dtype.itemsize == 2 and i % 3)
            else (),
            id=f'{call}, {dtype}',
        )
        for i, call in enumerate(LARGE)
        for dtype in DTYPES
    ],
)
def test_agrees_with_the_reference(emulation: Emulation, call: Call, dtype: torch.dtype) -> None:
    with emulation.options(seed=1):
        assert_agrees(emulation, call, dtype)


@EACH_DTYPE
def test_agrees_on_small_maps_of_every_layout(emulation: Emulation, dtype: torch.dtype) -> None:
    exact = dtype in (torch.float64, torch.float32)
    for call in CALLS[len(LARGE) :: 1 if exact else 4]:
        assert_agrees(emulation, call, dtype)


def test_the_calls_reach_every_kernel(emulation: Emulation, library: Path) -> None:
    emulation.launched()
    with emulation.options(dry=True):
        for call, dtype in itertools.product(CALLS, emulation.dtypes):
            inputs, upstream = tensors_of(call, dtype)
            for given in (inputs, (inputs[0], None, inputs[2])):
                emulation.run(Request.of(call, given))
                emulation.run(Request.of(call, given, upstream))
    symbols = subprocess.run(
        ['nm', '--dynamic', str(library)], capture_output=True, text=True, check=True
    )
    # void ddf::cuda::NAME<…>(ddf::cuda::Work)
    compiled = set(re.findall(r'\b_ZN3ddf4cuda\w+EvNS0_4WorkE\b', symbols.stdout))
    assert len(compiled) > 25 * len(emulation.dtypes)
    assert compiled == emulation.launched()


@pytest.mark.parametrize('mask', list(itertools.product([True, False], repeat=3)), ids=str)
def test_only_the_gradients_asked_for(emulation: Emulation, mask: tuple[bool, ...]) -> None:
    call = LARGE[1]
    inputs, upstream = call.tensors(torch.float32), call.grad_output(torch.float32)
    every = emulation.run(Request.of(call, inputs, upstream))
    asked = emulation.run(Request.of(call, inputs, upstream, mask))
    for gradient, full, needed in zip(asked, every, mask, strict=True):
        assert gradient is None if not needed else torch.equal(gradient, full)


@pytest.mark.parametrize('call', LARGE[::3], ids=str)
def test_bits_depend_neither_on_order_nor_on_the_grid(emulation: Emulation, call: Call) -> None:
    inputs, upstream = call.tensors(torch.float32), call.grad_output(torch.float32)
    runs = []
    for options in (
        {},
        {'seed': 7},
        {'seed': 8, 'grid_limit': 1},
        {'grid_limit': 3},
        {'multiprocessors': 1},
    ):
        with emulation.options(**options):
            results = emulation.run(Request.of(call, inputs))
            results += emulation.run(Request.of(call, inputs, upstream))
        runs.append(results)
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            assert torch.equal(a, b)


def kernels_of(emulation: Emulation, *arguments: Any) -> list[str]:
    """The names of the kernels that a run takes."""
    emulation.launched()
    with emulation.options(dry=True):
        emulation.run(Request.of(*arguments))
    return [re.match(r'_ZN3ddf4cuda\d+([a-z_]+?)I', s)[1] for s in emulation.launched()]  # type: ignore[index]


@pytest.mark.parametrize(
    ('call', 'forward', 'backward'),
    [
        (LARGE[0], 'filter_rows', ['filter_rows', 'grad_columns']),
        (LARGE[5], 'filter_columns', ['filter_columns', 'grad_columns']),
        (LARGE[10], 'filter_channels', ['filter_channels', 'grad_channels']),
        (LARGE[16], 'filter_any', ['grad_features_any', 'grad_spatial_any', 'grad_channel_any']),
        (LARGE[21], 'upsample', ['upsample_transposed', 'grad_columns']),
        (LARGE[23], 'filter_columns', ['stride_transposed', 'grad_columns']),
        (LARGE[24], 'filter_any', ['stride_transposed', 'grad_channels']),
    ],
    ids=str,
)
def test_kernel_of_a_call(
    emulation: Emulation, call: Call, forward: str, backward: list[str]
) -> None:
    inputs, upstream = tensors_of(call, torch.float32)
    assert kernels_of(emulation, call, inputs) == [forward]
    assert set(kernels_of(emulation, call, inputs, upstream)) == {*backward, 'reduce_sums'}


def off_alignment(x: Tensor) -> Tensor:
    """The same values and strides, one element further on in memory."""
    memory = torch.empty(x.untyped_storage().nbytes() // x.element_size() + 1, dtype=x.dtype)
    return memory.as_strided(x.shape, x.stride(), 1).copy_(x)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_vectors_and_single_values_give_the_same_bits(
    emulation: Emulation, dtype: torch.dtype
) -> None:
    call = LARGE[0]
    inputs, upstream = call.tensors(dtype), call.grad_output(dtype)
    other = tuple(map(off_alignment, inputs)), off_alignment(upstream)
    assert kernels_of(emulation, call, inputs) == ['filter_rows']
    assert kernels_of(emulation, call, other[0]) == ['filter_columns']
    for gradient in (False, True):
        runs = [
            emulation.run(Request.of(call, tensors, above if gradient else None))
            for tensors, above in ((inputs, upstream), other)
        ]
        assert all(map(torch.equal, *runs))


def test_gradient_stays_finite_beside_an_infinite_filter_tap(emulation: Emulation) -> None:
    """Outputs beyond the border do not exist: their taps add nothing, not infinity times 0."""
    for call in (LARGE[0], LARGE[5], LARGE[10], LARGE[12], LARGE[16]):
        x, f, s = call.tensors(torch.float32)
        f[..., 0, 0] = torch.inf
        upstream = call.grad_output(torch.float32)
        results = emulation.run(Request.of(call, (x, f, s), upstream))
        exact = expected(call, (x, f, s), upstream)
        # Tap (0, 0) of the pixel in the last row and column belongs to no output.
        assert results[0][..., -1, :].isfinite().all()
        assert torch.equal(results[0].isfinite(), exact[0].isfinite())


def test_infinite_pixel_stays_within_its_kernel(emulation: Emulation) -> None:
    for call in (LARGE[0], LARGE[5], LARGE[10]):
        x, f, s = call.tensors(torch.float32)
        x[..., 3, 9] = torch.inf
        (output,) = emulation.run(Request.of(call, (x, f, s)))
        reached = torch.zeros(call.out_size, dtype=torch.bool)
        reached[2:5, 8:11] = True
        assert torch.equal(output.isfinite().all(1).all(0), ~reached)


@pytest.mark.parametrize(
    ('shape', 'kernel_size'),
    [
        ((65536, 4, 3, 3), 3),
        ((70000, 8, 4, 4), 7),
        ((1, 4, 1024, 2048), 5),
        ((2, 70000, 2, 2), 3),
        ((1, 3, 30000, 40000), 3),
        ((1, 1, 16, 16), 5),
        ((1, 64, 512, 1024), 5),
    ],
    ids=str,
)
@pytest.mark.parametrize('groups', ['one', 'depthwise'])
@pytest.mark.parametrize('scale_factor', [1, 2])
@EACH_DTYPE
def test_no_launch_exceeds_a_limit(
    emulation: Emulation,
    shape: tuple[int, int, int, int],
    kernel_size: int,
    groups: str,
    scale_factor: int,
    dtype: torch.dtype,
) -> None:
    count = 1 if groups == 'one' else shape[1]
    call = call_of(shape, kernel_size, groups=count, scale_factor=scale_factor)
    # Shapes and strides without memory.
    taps = kernel_size**2
    inputs = tuple(
        torch.empty(size, dtype=dtype, device='meta')
        for size in (
            shape,
            (*shape[:2], kernel_size, kernel_size),
            (shape[0], count * taps, *call.out_size),
        )
    )
    upstream = torch.empty((*shape[:2], *call.out_size), dtype=dtype, device='meta')
    for gradient in (None, upstream):
        request = Request.of(call, inputs, gradient)
        for last in (False, True):
            if last:
                request.numbers[16:20] = [*request.numbers[16:17], 1, 0, shape[1]]
            with emulation.options(dry=True):
                assert emulation.error(request) == 0


def test_a_dimension_beyond_31_bits_is_refused(emulation: Emulation) -> None:
    call = call_of((1, 1, 1, 2**31), 3)
    inputs = (
        torch.empty(1, 1, 1, 2**31, device='meta'),
        torch.empty(1, 1, 3, 3, device='meta'),
        torch.empty(1, 9, 1, 2**31, device='meta'),
    )
    with emulation.options(dry=True):
        assert emulation.error(Request.of(call, inputs)) == 1  # cudaErrorInvalidValue


def test_without_channels_the_spatial_gradient_is_zero(emulation: Emulation) -> None:
    call = call_of((1, 0, 3, 4), 3)
    inputs = call.tensors(torch.float32)
    assert emulation.run(Request.of(call, inputs))[0].shape == (1, 0, 3, 4)
    assert torch.equal(
        emulation.run(Request.of(call, inputs, call.grad_output(torch.float32)))[2],
        torch.zeros(1, 9, 3, 4),
    )


def test_filter_expanded_over_the_phases(emulation: Emulation) -> None:
    call = call_of((1, 4, 3, 4), 3, scale_factor=2, phased=True)
    x, f, s = call.tensors(torch.float32)
    f = f[:, :1].expand(f.shape)
    upstream = call.grad_output(torch.float32)
    for gradient in (None, upstream):
        results = emulation.run(Request.of(call, (x, f, s), gradient))
        assert_expected(call, (x, f, s), results, gradient)


@EACH_DTYPE
def test_one_filter_alone(emulation: Emulation, dtype: torch.dtype) -> None:
    for call in ONE_FILTER:
        inputs, upstream = tensors_of(call, dtype)
        for gradient in (None, upstream):
            results = emulation.run(Request.of(call, inputs, gradient))
            assert_expected(call, inputs, results, gradient)


# --- the emulation finds what it is there to find -------------------------------------------------

# One tile each, no idle channels and taps within the map: then every pass needs its barriers.
BARRIERS = [
    LARGE[0],
    call_of((1, 8, 3, 9), 3),
    call_of((1, 40, 3, 5), (1, 9)),
    call_of((1, 16, 3, 4), 3, scale_factor=2, phased=True),
]


@pytest.mark.parametrize('call', BARRIERS, ids=str)
@pytest.mark.parametrize('gradients', ['', 'X', 'FS', 'S'])
def test_every_barrier_is_needed(emulation: Emulation, call: Call, gradients: str) -> None:
    """Without any one of its barriers, but the first, a kernel gives something else.

    For F's gradient alone, the filters that barriers keep apart are not read.
    """
    call = Call(**{**call.__dict__, 'batch': 2})
    inputs = call.tensors(torch.float32)
    upstream = call.grad_output(torch.float32) if gradients else None
    request = Request.of(call, inputs, upstream, [name in gradients for name in 'XFS'])

    def run(seed: int, dropped: int = -1) -> list[Tensor] | int:
        for result in request.results:
            if result is not None:
                result.fill_(torch.nan)
        with emulation.options(seed=seed, grid_limit=1, dropped_barrier=dropped):
            error = emulation.error(request)
        return error or [r.clone() for r in request.results if r is not None]

    emulation.barriers()
    right = run(0)
    assert isinstance(right, list)
    for dropped in range(1, min(emulation.barriers(), 12)):
        caught = False
        for seed in range(4):
            wrong = run(seed, dropped)
            caught = not isinstance(wrong, list) or not all(map(torch.equal, right, wrong))
            if caught:
                break
        assert caught, f'barrier {dropped}'


# One call for each kernel and way of reading.
WATCHED = [LARGE[i] for i in (0, 2, 5, 7, 9, 10, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24, 26)]


def _requests(call: Call, dtype: torch.dtype) -> list[Request]:
    inputs, upstream = tensors_of(call, dtype)
    return [Request.of(call, inputs), Request.of(call, inputs, upstream)]


@pytest.mark.slow
@pytest.mark.parametrize('name', SANITIZED)
def test_sanitizers_find_nothing(watched: Path, name: str) -> None:
    """Neither a read or write outside an allocation, nor a vector load off its alignment."""
    dtype = next(d for d, n in DTYPES.items() if n == name)
    requests = [r for call in WATCHED for r in _requests(call, dtype)]
    finished = run_program(watched, ''.join(r.line() for r in requests))
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize('call', [LARGE[0], LARGE[5], LARGE[10]], ids=str)
@pytest.mark.parametrize('tensor', range(7), ids=['X', 'F', 'S', 'O', 'dX', 'dF', 'dS'])
def test_sanitizer_finds_access_past_a_tensor(watched: Path, call: Call, tensor: int) -> None:
    forward, backward = _requests(call, torch.float32)
    request = backward if tensor > 3 else forward
    finished = run_program(watched, request.line(short={tensor: 1}))
    assert 'heap-buffer-overflow' in finished.stderr


@pytest.mark.slow
def test_sanitizer_finds_access_past_shared_memory(watched: Path) -> None:
    finished = run_program(watched, _requests(LARGE[0], torch.float32)[0].line(missing_shared=16))
    assert 'heap-buffer-overflow' in finished.stderr


def _planted(directory: Path, file: str, right: str, wrong: str) -> Path:
    """The kernels with one defect."""
    kernels = directory / 'kernels'
    shutil.copytree(ROOT / 'ops/kernels', kernels)
    text = (kernels / 'cuda' / file).read_text()
    assert right in text, f'{file}: expected to hold {right!r}'
    (kernels / 'cuda' / file).write_text(text.replace(right, wrong))
    return kernels


@pytest.mark.slow
def test_a_planted_read_out_of_bounds_is_found(tmp_path: Path) -> None:
    kernels = _planted(
        tmp_path,
        'columns.cuh',
        'contains(at_y, p.height)',
        'contains(at_y, p.height + 1)',
    )
    program = build(tmp_path, ['float32'], [*SANITIZERS, '-O0'], kernels, program=True)
    request, _ = _requests(LARGE[5], torch.float32)
    finished = run_program(program, request.line())
    assert 'heap-buffer-overflow' in finished.stderr
    assert 'filter_columns<float' in finished.stderr


@pytest.mark.slow
def test_a_planted_missing_barrier_is_found(tmp_path: Path) -> None:
    kernels = _planted(
        tmp_path,
        'filter_columns.cuh',
        'unit.phase);\n      __syncthreads();\n',
        'unit.phase);\n',
    )
    emulation = Emulation(build(tmp_path, ['float32'], ['-O0'], kernels))
    call = LARGE[5]
    inputs = call.tensors(torch.float32)
    (exact,) = expected(call, inputs)
    (output,) = emulation.run(Request.of(call, inputs))
    assert not torch.allclose(output.double(), exact, rtol=1e-3)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_output_follows_the_features_layout(emulation: Emulation, layout: str) -> None:
    """As `Request` lays tensors out; the binding must do the same."""
    call = call_of((2, 4, 3, 5), 3, (layout, 'contiguous', 'contiguous'))
    (output,) = emulation.run(Request.of(call, call.tensors(torch.float32)))
    assert is_channels_last_only(output) == (layout == 'channels_last')
