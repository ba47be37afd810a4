"""The CUDA kernels of `filter_norm`: run on the CPU by emulation, and on a GPU if there is one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
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
from softmax_cases import LAYOUTS
from torch import Tensor

from ddf_seg.ops import filter_norm as module
from ddf_seg.ops import native

OPS = torch.ops.ddf_seg
Run = Callable[..., Tensor]

# Shape and taps of a filter
SHAPES = {
    'spatial': ((2, 18, 5, 7), 9),
    'several blocks': ((1, 9, 9, 150), 9),
    'many groups': ((1, 5 * 9, 3, 70), 9),
    '25 taps': ((2, 50, 3, 33), 25),
    'channel': ((3, 90, 1, 1), 9),
    'channel, 25 taps': ((2, 175, 1, 1), 25),
    'many channels': ((2, 9 * 200, 1, 1), 9),
    'two taps': ((2, 4, 6, 17), 2),
    '49 taps': ((1, 98, 3, 5), 49),
}
LEARNED = ('nothing', 'std', 'std and mean', 'mean')


def arguments_of(
    shape: str, dtype: torch.dtype, layout: str = 'contiguous', learned: str = 'nothing'
) -> Any:
    """Arguments of `filter_norm`."""
    size, taps = SHAPES[shape]
    generator = torch.Generator().manual_seed(0)
    x, std, mean = (
        torch.randn(n, generator=generator, dtype=torch.float64)
        for n in (size, (size[1],), (size[1],))
    )
    filters = LAYOUTS[layout]((x + 3).to(dtype))
    wide = module.sums_dtype(filters)
    return (
        *(filters, taps, 0.7, 1e-2, torch.tensor(0.5)),
        std.to(wide) if 'std' in learned else None,
        mean.to(wide) if 'mean' in learned else None,
    )


def upstream_of(arguments: Any, layout: str = 'contiguous') -> Tensor:
    filters = arguments[0]
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(filters.shape, generator=generator, dtype=torch.float64)
    return LAYOUTS[layout](values.to(filters.dtype))


def in_float64(arguments: Any) -> list[Any]:
    """All but the scale, which stays a number of float32."""
    return [x.double() if isinstance(x, Tensor) and x.dim() else x for x in arguments]


def on_the_gpu(arguments: Any, grad_output: Tensor | None = None) -> Tensor:
    moved = [to_device(x, 'cuda') if isinstance(x, Tensor) else x for x in arguments]
    if grad_output is None:
        found = OPS.filter_norm(*moved)
    else:
        found = OPS.filter_norm_backward(to_device(grad_output, 'cuda'), *moved[:-1])
    return to_device(found, 'cpu')


@pytest.fixture(params=[BY_EMULATION, BY_GPU])
def run(request: pytest.FixtureRequest) -> Run:
    """The normalised filters, or their gradient; tensors come from the CPU and go there."""
    if request.param == 'GPU':
        need_kernels()
        return on_the_gpu
    emulation = request.getfixturevalue('emulation')

    def emulated(arguments: Any, grad_output: Tensor | None = None) -> Tensor:
        (found,) = emulation.run(Request.of_norm(*arguments, grad_output))
        return found

    return emulated


@in_each_dtype(BY_EMULATION, BY_GPU)
@pytest.mark.parametrize('learned', LEARNED)
@pytest.mark.parametrize('shape', SHAPES)
def test_agrees_with_float64(run: Run, shape: str, learned: str, dtype: torch.dtype) -> None:
    """Filters and gradient in all layouts, against plain torch."""
    eps = torch.finfo(dtype).eps
    for layout in LAYOUTS:
        arguments = arguments_of(shape, dtype, layout, learned)
        upstream = upstream_of(arguments, layout)
        found, gradient = run(arguments), run(arguments, upstream)
        assert (found.dtype, gradient.dtype) == (dtype, dtype)
        # Values reach 2 × 3 × gain; sums of float32 stay within some of its steps.
        close: dict[str, Any] = dict(rtol=eps, atol=max(16 * eps * (dtype.itemsize > 2), 1e-5))
        close['atol'] = 1e-12 if dtype == torch.float64 else close['atol']
        wide = in_float64(arguments)
        want = module._plain_forward(*wide)
        torch.testing.assert_close(found.double(), want, check_stride=True, **close)
        want = module._plain_backward(upstream.double(), *wide[:-1])
        torch.testing.assert_close(gradient.double(), want, check_stride=True, **close)


@in_each_dtype(BY_EMULATION, BY_GPU)
@pytest.mark.parametrize('taps', [9, 25, 4, 49])
def test_constant_filters(run: Run, taps: int, dtype: torch.dtype) -> None:
    """They become nothing, and an equal gradient of all taps, too; an offset alone remains."""
    x = torch.full((1, taps, 3, 50), 0.1, dtype=dtype)
    assert not run((x, taps, 1.0, 1e-5, None, None, None)).any()
    assert not run((x, taps, 1.0, 1e-5, None, None, None), torch.ones_like(x)).any()
    std, mean = torch.ones(2, taps, dtype=module.sums_dtype(x)) * torch.tensor([[2.0], [0.5]])
    assert torch.equal(run((x, taps, 1.0, 1e-5, None, std, mean)), torch.full_like(x, 0.5))


@pytest.mark.parametrize('taps', [9, 4])
def test_nan_and_infinity_stay_in_their_filter(run: Run, taps: int) -> None:
    x = torch.randn(1, 2 * taps, 4, 37)
    x[0, 3, 1, 5], x[0, taps + 2, 2, 36] = float('nan'), float('inf')
    expected = torch.zeros(1, 2, taps, 4, 37, dtype=torch.bool)
    expected[0, 0, :, 1, 5] = expected[0, 1, :, 2, 36] = True
    for found in (
        run((x, taps, 1.0, 1e-5, None, None, None)),
        run((x, taps, 1.0, 1e-5, None, None, None), torch.ones_like(x)),
    ):
        assert torch.equal(found.isnan().unflatten(1, (2, taps)), expected)


@on_gpu
def test_kernels_of_the_gpu_are_launched_and_captured() -> None:
    """Forward and gradient in a CUDA graph, which gives what they gave before."""
    arguments = arguments_of('spatial', torch.float32, learned='std and mean')
    upstream = upstream_of(arguments).cuda()
    moved = [x.cuda() if isinstance(x, Tensor) else x for x in arguments]
    with native.launched_kernels() as names:
        first = OPS.filter_norm(*moved)
        gradient = OPS.filter_norm_backward(upstream, *moved[:-1])
    assert names == ['norm_filter', 'norm_gradient']
    held = torch.zeros_like(moved[0])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = OPS.filter_norm(held, *moved[1:])
        captured_gradient = OPS.filter_norm_backward(upstream, held, *moved[1:-1])
    held.copy_(moved[0])
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, first)
    assert torch.equal(captured_gradient, gradient)


@on_gpu
def test_learned_values_elsewhere_than_on_the_gpu_are_refused() -> None:
    x, scale, std = torch.zeros(1, 9, 2, 2).cuda(), torch.tensor(1.0), torch.ones(9)
    with pytest.raises(RuntimeError, match='scale: expected one float32 number on CUDA device 0'):
        OPS.filter_norm(x, 9, 1.0, 1e-5, scale, None, None)
    with pytest.raises(RuntimeError, match='std: expected 9 numbers of Float on CUDA device 0'):
        OPS.filter_norm(x, 9, 1.0, 1e-5, None, std, None)


# --- by emulation alone ---------------------------------------------------------------------------


@pytest.mark.parametrize('shape', ['several blocks', '25 taps', 'many channels'])
def test_emulated_bits_do_not_depend_on_the_grid(emulation: Emulation, shape: str) -> None:
    """With one block in each row of the grid and one row of it, passes follow each other."""
    arguments = arguments_of(shape, torch.float32, learned='std and mean')
    runs = []
    for options in ({}, {'seed': 7, 'grid_limit': 1}, {'grid_limit': 2}):
        with emulation.options(**options):
            for above in (None, upstream_of(arguments)):
                runs += emulation.run(Request.of_norm(*arguments, above))
    for found, other in zip(runs[2:], runs[:2] * 2, strict=True):
        assert torch.equal(found, other)


def launched(emulation: Emulation, arguments: Any, above: Tensor | None = None) -> str:
    """The name of the kernel that a run takes, with its size and whether it has learned values."""
    emulation.launched()
    with emulation.options(dry=True):
        emulation.run(Request.of_norm(*arguments, above))
    (symbol,) = emulation.launched()
    match = re.match(
        r'_ZN3ddf4cuda\d+([a-z_]+?)I\w*?(?:Li(\d)ELb([01])E)?EEvNS0_8NormWorkE', symbol
    )
    assert match is not None, symbol
    return match[1] + (match[2] or '') + (' learned' if match[3] == '1' else '')


def test_emulated_calls_reach_every_kernel(emulation: Emulation, library: Path) -> None:
    emulation.launched()
    with emulation.options(dry=True):
        for dtype in emulation.dtypes:
            for shape in SHAPES:
                for learned in LEARNED:
                    arguments = arguments_of(shape, dtype, learned=learned)
                    emulation.run(Request.of_norm(*arguments))
                    emulation.run(Request.of_norm(*arguments, upstream_of(arguments)))
    symbols = subprocess.run(
        ['nm', '--dynamic', str(library)], capture_output=True, text=True, check=True
    )
    compiled = set(re.findall(r'\b_ZN3ddf4cuda\w+EvNS0_8NormWorkE\b', symbols.stdout))
    assert len(compiled) == 10 * len(emulation.dtypes)
    assert compiled == emulation.launched()


def test_emulated_kernel_of_a_call(emulation: Emulation) -> None:
    names = {'nothing': '', 'std': ' learned', 'std and mean': ' learned'}
    for shape, size in (('spatial', '3'), ('channel, 25 taps', '5')):
        for learned, name in names.items():
            arguments = arguments_of(shape, torch.float32, learned=learned)
            assert launched(emulation, arguments) == f'norm_filter{size}{name}'
            above = upstream_of(arguments)
            assert launched(emulation, arguments, above) == f'norm_gradient{size}{name}'
    for shape, learned in (('two taps', 'std'), ('spatial', 'mean')):
        arguments = arguments_of(shape, torch.float32, learned=learned)
        assert launched(emulation, arguments) == 'norm_filter_any'


def without_memory(*shape: int, apart: int | None = None) -> Any:
    """Arguments on the device meta; `apart`: elements between taps."""
    filters = torch.empty(shape, device='meta')
    if apart is not None:
        filters = torch.empty_strided(shape, (0, apart, shape[3], 1), device='meta')
    return (filters, 9, 1.0, 1e-5, None, None, None)


def test_emulated_launches_stay_within_the_limits(emulation: Emulation) -> None:
    with emulation.options(dry=True):
        for shape in ((70000, 9, 3, 4), (1, 9, 300000, 3), (1, 9, 2, 2**30), (2, 9 * 2**20, 1, 1)):
            assert emulation.error(Request.of_norm(*without_memory(*shape))) == 0
        # More than 31 bits count: cudaErrorInvalidValue
        for shape in ((1, 9, 2**31, 1), (1, 18, 1, 2**30)):
            assert emulation.error(Request.of_norm(*without_memory(*shape))) == 1


def test_emulated_taps_far_apart_take_the_general_kernel(emulation: Emulation) -> None:
    """2^32 bytes apart is beyond what the specialised ones count."""
    for apart, name in ((2**30 - 1, '3'), (2**30, '_any')):
        arguments = without_memory(1, 9, 4, 2**17, apart=apart)
        assert launched(emulation, arguments) == f'norm_filter{name}'


def watched_requests(dtype: torch.dtype) -> list[Request]:
    calls = [
        arguments_of(shape, dtype, layout, learned)
        for shape in ('spatial', '25 taps', 'channel', 'two taps')
        for layout in ('contiguous', 'channels_last')
        for learned in ('std and mean', 'std', 'nothing')
    ]
    return [Request.of_norm(*a, above) for a in calls for above in (None, upstream_of(a))]


@pytest.mark.slow
@pytest.mark.parametrize('name', SANITIZED)
def test_sanitizers_find_nothing_emulated(watched: Path, name: str) -> None:
    dtype = next(d for d, n in DTYPES.items() if n == name)
    finished = run_program(watched, ''.join(r.line() for r in watched_requests(dtype)))
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    'tensor', range(6), ids=['filters', 'upstream', 'output', 'scale', 'std', 'mean']
)
def test_sanitizer_finds_access_past_a_tensor_emulated(watched: Path, tensor: int) -> None:
    forward, backward = watched_requests(torch.float32)[:2]
    finished = run_program(watched, (backward if tensor == 1 else forward).line(short={tensor: 1}))
    assert 'heap-buffer-overflow' in finished.stderr
