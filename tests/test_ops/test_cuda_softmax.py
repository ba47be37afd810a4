"""The CUDA kernels of `interpolation_softmax`: run on the CPU by emulation, and on a GPU if any."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cuda_emulated import (
    BY_EMULATION,
    BY_GPU,
    DTYPES,
    SANITIZED,
    Emulation,
    Request,
    in_each_dtype,
    run_program,
)
from on_gpu import need_kernels, on_gpu, to_device
from softmax_cases import IN_LAYOUTS, LAYOUTS, SHAPES, Shape
from torch import Tensor

from ddf_seg.ops import interpolation_softmax as module
from ddf_seg.ops import native

OPS = torch.ops.ddf_seg
Run = Callable[..., Tensor]


def on_the_gpu(arguments: Any, grad_output: Tensor | None = None) -> Tensor:
    """The filters, or the gradient of the logits; tensors come from the CPU and go there."""
    moved = [to_device(x, 'cuda') if isinstance(x, Tensor) else x for x in arguments]
    if grad_output is None:
        found = OPS.interpolation_softmax(*moved)
    else:
        found = OPS.interpolation_softmax_backward(to_device(grad_output, 'cuda'), *moved)
    return to_device(found, 'cpu')


@pytest.fixture(params=[BY_EMULATION, BY_GPU])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == 'GPU':
        need_kernels()
        return on_the_gpu
    emulation = request.getfixturevalue('emulation')

    def emulated(arguments: Any, grad_output: Tensor | None = None) -> Tensor:
        (found,) = emulation.run(Request.of_softmax(*arguments, grad_output))
        return found

    return emulated


def upstream_of(arguments: Any, layout: str = 'contiguous') -> Tensor:
    """A gradient for the filters."""
    logits, rows = arguments[0], arguments[3]
    shape = (logits.shape[0], (rows.shape[0] - 2) * logits.shape[1], *logits.shape[2:])
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return LAYOUTS[layout](values.to(logits.dtype))


def in_float64(arguments: Any) -> list[Any]:
    return [x.double() if isinstance(x, Tensor) else x for x in arguments]


# Beside those of the CPU's tests: both specialised sizes, with and without keys, and their groups.
CUDA_SHAPES = SHAPES | {
    'wide filters alone': Shape((5, 9), kernel=5, groups=3, batch=2),
    'one tap': Shape((4, 6), (2, 3), kernel=1, depth=2, maps=2),
    'many groups': Shape((9, 70), (5, 35), groups=5, depth=2, maps=2),
    'by 4': Shape((13, 30), (4, 8), scale=4, kernel=5, groups=2, depth=5, maps=2),
    'whole vectors': Shape((6, 22), (3, 11), groups=2, depth=8, maps=2, batch=2),
    'wide, whole vectors': Shape((7, 11), (3, 5), kernel=5, depth=4),
    'keys of one pixel': Shape((2, 3), (1, 2), kernel=5, groups=2),
}
IN_CUDA_LAYOUTS = IN_LAYOUTS + [
    (shape, layout) for shape in CUDA_SHAPES if shape not in SHAPES for layout in LAYOUTS
]


@in_each_dtype(BY_EMULATION, BY_GPU)
@pytest.mark.parametrize(('shape', 'layout'), IN_CUDA_LAYOUTS)
def test_agrees_with_plain_torch(run: Run, shape: str, layout: str, dtype: torch.dtype) -> None:
    """Filters and gradient, against float64."""
    arguments = CUDA_SHAPES[shape].arguments(dtype, layout)
    eps = torch.finfo(dtype).eps
    close: dict[str, Any] = dict(rtol=eps, atol=max(max(4, CUDA_SHAPES[shape].depth) * eps, 1e-13))
    found = run(arguments)
    expected = module._plain_forward(*in_float64(arguments))
    torch.testing.assert_close(found.double(), expected, check_stride=True, **close)
    upstream = upstream_of(arguments, layout)
    gradient = run(arguments, upstream)
    assert (found.dtype, gradient.dtype) == (dtype, dtype)
    expected = module._plain_backward(upstream.double(), *in_float64(arguments))
    close['atol'] *= len(arguments[3])  # of each map, values up to 4
    torch.testing.assert_close(gradient.double(), expected, check_stride=True, **close)


@in_each_dtype(BY_EMULATION, BY_GPU)
@pytest.mark.parametrize('kernel', [3, 7])
def test_large_logits(run: Run, kernel: int, dtype: torch.dtype) -> None:
    """Their exponentials would not fit, and differences leave nothing of the others."""
    logits = torch.zeros(1, kernel**2, 2, 40, dtype=dtype)
    logits[:, 4], logits[:, 7] = 3e4, -3e4
    tables = [torch.zeros(3, kernel, n, dtype=module.table_dtype(logits)) for n in (2, 40)]
    expected = torch.zeros_like(logits)
    expected[:, 4] = 1
    assert torch.equal(run((logits, None, None, *tables, 2)), expected)


@pytest.mark.parametrize('kernel', [3, 7])
def test_nan_and_infinity_stay_in_their_filter(run: Run, kernel: int) -> None:
    taps = kernel**2
    arguments = Shape((4, 37), groups=2, kernel=kernel).arguments(torch.float32)
    logits = arguments[0]
    logits[0, 3, 1, 5], logits[0, taps + 2, 2, 36] = float('nan'), float('inf')
    expected = torch.zeros(1, 2, taps, 4, 37, dtype=torch.bool)
    expected[0, 0, :, 1, 5] = expected[0, 1, :, 2, 36] = True
    for found in (run(arguments), run(arguments, upstream_of(arguments))):
        assert torch.equal(found.isnan().unflatten(1, (2, taps)), expected)


@pytest.mark.parametrize('kernel', [3, 5, 7])
def test_an_infinite_key_stays_within_its_kernel(run: Run, kernel: int) -> None:
    """What stands in for keys outside the map is 0, not another pixel's value times 0."""
    shape = Shape((8, 20), (4, 10), kernel=kernel)
    logits, query, key, *others = shape.arguments(torch.float32)
    key[..., 0, 0] = float('inf')
    found = run((logits, query.abs() + 1, key, *others))
    reached = torch.zeros(8, 20, dtype=torch.bool)
    reached[: 2 * (kernel // 2 + 1), : 2 * (kernel // 2 + 1)] = True
    assert torch.equal(found.isnan().any(1).any(0), reached)


@pytest.mark.parametrize('shape', ['compared', 'groups and maps', 'by 3', 'many groups'])
def test_every_run_gives_the_same_bits(run: Run, shape: str) -> None:
    arguments = CUDA_SHAPES[shape].arguments(torch.float32)
    upstream = upstream_of(arguments)
    for above in (None, upstream):
        first = run(arguments, above)
        assert all(torch.equal(first, run(arguments, above)) for _ in range(3))


@on_gpu
def test_kernels_of_the_gpu_are_launched_and_captured() -> None:
    """Forward and gradient in a CUDA graph, which gives what they gave before."""
    arguments = CUDA_SHAPES['groups and maps'].arguments(torch.float32)
    upstream = upstream_of(arguments).cuda()
    moved = [x.cuda() if isinstance(x, Tensor) else x for x in arguments]
    with native.launched_kernels() as names:
        first = OPS.interpolation_softmax(*moved)
        gradient = OPS.interpolation_softmax_backward(upstream, *moved)
    assert names == ['softmax_filter', 'softmax_gradient']
    held = torch.zeros_like(moved[0])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = OPS.interpolation_softmax(held, *moved[1:])
        captured_gradient = OPS.interpolation_softmax_backward(upstream, held, *moved[1:])
    held.copy_(moved[0])
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, first)
    assert torch.equal(captured_gradient, gradient)


@on_gpu
def test_tables_elsewhere_than_on_the_gpu_are_refused() -> None:
    logits, _, _, *others = Shape((4, 6)).arguments(torch.float32)
    with pytest.raises(RuntimeError, match='rows: expected a tensor of Float on CUDA device 0'):
        OPS.interpolation_softmax(logits.cuda(), None, None, *others)


# --- by emulation alone ---------------------------------------------------------------------------


@pytest.mark.parametrize('shape', ['compared', 'groups and maps', 'by 3', 'logits alone'])
def test_emulated_bits_do_not_depend_on_the_grid(emulation: Emulation, shape: str) -> None:
    """With one block in each row of the grid and one row of it, passes follow each other."""
    arguments = replace(SHAPES[shape], batch=3).arguments(torch.float32)
    runs = []
    for options in ({}, {'seed': 7, 'grid_limit': 1}, {'grid_limit': 2}):
        with emulation.options(**options):
            for above in (None, upstream_of(arguments)):
                runs += emulation.run(Request.of_softmax(*arguments, above))
    for found, other in zip(runs[2:], runs[:2] * 2, strict=True):
        assert torch.equal(found, other)


READING = ('rows', 'channels', 'any')  # ddf::cuda::Reading (softmax.cuh)


def launched(emulation: Emulation, arguments: Any, above: Tensor | None) -> str:
    """The name of the kernel that a run takes, with its size and how it reads keys."""
    emulation.launched()
    with emulation.options(dry=True):
        emulation.run(Request.of_softmax(*arguments, above))
    (symbol,) = emulation.launched()
    match = re.match(
        r'_ZN3ddf4cuda\d+([a-z_]+?)I\w*?(?:Li(\d)ELNS0_7ReadingE(\d)E)?EEvNS0_11SoftmaxWorkE',
        symbol,
    )
    assert match is not None, symbol
    return match[1] + (f' {match[2]}, {READING[int(match[3])]}' if match[2] else '')


def test_emulated_calls_reach_every_kernel(emulation: Emulation, library: Path) -> None:
    emulation.launched()
    with emulation.options(dry=True):
        for dtype in emulation.dtypes:
            for shape, layout in IN_CUDA_LAYOUTS:
                arguments = CUDA_SHAPES[shape].arguments(dtype, layout)
                emulation.run(Request.of_softmax(*arguments))
                emulation.run(Request.of_softmax(*arguments, upstream_of(arguments)))
    symbols = subprocess.run(
        ['nm', '--dynamic', str(library)], capture_output=True, text=True, check=True
    )
    compiled = set(re.findall(r'\b_ZN3ddf4cuda\w+EvNS0_11SoftmaxWorkE\b', symbols.stdout))
    assert len(compiled) == 2 * (2 * 3 + 1) * len(emulation.dtypes)
    assert compiled == emulation.launched()


def test_emulated_kernel_of_a_call(emulation: Emulation) -> None:
    for kernel, layout, depth, taken in (
        (3, 'contiguous', 4, ' 3, rows'),
        (5, 'part of a map', 3, ' 5, rows'),
        (3, 'channels_last', 4, ' 3, channels'),
        (5, 'channels_last', 8, ' 5, channels'),
        (3, 'channels_last', 3, ' 3, any'),
        (5, 'transposed', 4, ' 5, any'),
        (7, 'channels_last', 4, '_any'),
    ):
        arguments = Shape((4, 6), (2, 3), kernel=kernel, depth=depth).arguments(
            torch.float32, layout
        )
        assert launched(emulation, arguments, None) == f'softmax_filter{taken}'
        assert launched(emulation, arguments, upstream_of(arguments)) == f'softmax_gradient{taken}'


def of_size(batch: int, size: tuple[int, int], groups: int = 1, low: Any = None) -> Any:
    """Arguments without memory; with keys of 2 channels if there is a `low`."""
    fine = [torch.empty(batch, groups * n, *size, device='meta') for n in (9, 2)]
    key = None if low is None else torch.empty(batch, groups * 2, *low, device='meta')
    tables = [torch.empty(3, 3, n, device='meta') for n in size]
    return (fine[0], None if key is None else fine[1], key, *tables, 2)


def test_emulated_launches_stay_within_the_limits(emulation: Emulation) -> None:
    with emulation.options(dry=True):
        for arguments in (
            of_size(70000, (3, 4)),
            of_size(1, (300000, 3)),
            of_size(1, (2, 2**30)),
            of_size(2, (2**21, 2**21), low=(2**20, 2**20), groups=3),
        ):
            assert emulation.error(Request.of_softmax(*arguments)) == 0
        # More than 31 bits count: cudaErrorInvalidValue
        for arguments in (of_size(1, (2**31, 1)), of_size(1, (1, 2**30), groups=2)):
            assert emulation.error(Request.of_softmax(*arguments)) == 1


def test_emulated_keys_far_apart_take_the_general_kernel(emulation: Emulation) -> None:
    """Channels 2^32 bytes apart are beyond what the specialised ones count."""
    with emulation.options(dry=True):
        logits, query, key, *others = of_size(1, (4, 2**17), low=(2, 2**16))
        for apart, size in ((2**30 - 1, ' 3, rows'), (2**30, '_any')):
            strided = torch.empty_strided(key.shape, (0, apart, 2**16, 1), device='meta')
            arguments = (logits, query, strided, *others)
            assert launched(emulation, arguments, None) == f'softmax_filter{size}'


def watched_requests(dtype: torch.dtype) -> list[Request]:
    calls = [
        CUDA_SHAPES[name].arguments(dtype, layout)
        for name in (
            'compared',
            'groups and maps',
            'by 3',
            'a step more',
            'logits alone',
            'whole vectors',
            'wide, whole vectors',
        )
        for layout in ('contiguous', 'channels_last')
    ]
    return [Request.of_softmax(*a, above) for a in calls for above in (None, upstream_of(a))]


@pytest.mark.slow
@pytest.mark.parametrize('name', SANITIZED)
def test_sanitizers_find_nothing_emulated(watched: Path, name: str) -> None:
    dtype = next(d for d, n in DTYPES.items() if n == name)
    finished = run_program(watched, ''.join(r.line() for r in watched_requests(dtype)))
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    'tensor', range(7), ids=['logits', 'query', 'key', 'rows', 'columns', 'output', 'gradient']
)
def test_sanitizer_finds_access_past_a_tensor_emulated(watched: Path, tensor: int) -> None:
    forward, backward = watched_requests(torch.float32)[:2]
    finished = run_program(watched, (backward if tensor == 6 else forward).line(short={tensor: 1}))
    assert 'heap-buffer-overflow' in finished.stderr
