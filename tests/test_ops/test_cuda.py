"""The CUDA kernels on a GPU, where torch sees one; elsewhere test_cuda_emulation.py runs them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from assertions import is_channels_last_only
from cases import LAYOUTS, Call
from cuda_cases import CALLS, LARGE, ONE_FILTER, assert_expected, call_of, tensors_of
from naive import pair
from on_gpu import need_kernels, on_gpu, to_device
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import ddf_seg.ops
from ddf_seg.ops import ddf, native
from ddf_seg.ops.definition import plain_kernel

OPS = torch.ops.ddf_seg
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def run(call: Call, inputs: tuple[Any, ...], grad_output: Tensor | None = None) -> list[Tensor]:
    """The output, or all gradients, by the operators that the dispatcher has for the device."""
    if call.stride is not None:
        name = 'ddf'
        arguments: tuple[Any, ...] = (
            pair(call.kernel_size),
            pair(call.dilation),
            pair(call.stride),
        )
    else:
        name = 'ddf_upsample'
        arguments = (pair(call.kernel_size), call.scale_factor, pair(call.dilation))
    if grad_output is None:
        return [getattr(OPS, name)(*inputs, *arguments, call.kernel_combine)]
    backward = getattr(OPS, f'{name}_backward')
    return list(backward(grad_output, *inputs, *arguments, call.kernel_combine, [True] * 3))


def on_device(
    call: Call, dtype: torch.dtype = torch.float32, device: str = 'cuda'
) -> tuple[tuple[Any, ...], Tensor]:
    inputs, upstream = tensors_of(call, dtype)
    # The memory format, any strides too, goes along.
    *moved, above = (None if t is None else to_device(t, device) for t in (*inputs, upstream))
    return tuple(moved), above


@pytest.fixture(scope='module', autouse=True)
def _compiled() -> None:
    if torch.cuda.is_available():
        need_kernels()


@on_gpu
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('call', [*CALLS, *ONE_FILTER], ids=str)
def test_agrees_with_the_reference(call: Call, dtype: torch.dtype) -> None:
    inputs, upstream = on_device(call, dtype)
    for gradient in (None, upstream):
        results = [r.cpu() for r in run(call, inputs, gradient)]
        assert_expected(
            call,
            [None if t is None else t.cpu() for t in inputs],
            list(results),
            None if gradient is None else gradient.cpu(),
        )


@on_gpu
@pytest.mark.parametrize('shape', [(2, 64, 96, 128), (65537, 4, 3, 3), (1, 8, 1024, 2048)], ids=str)
def test_agrees_with_the_cpu_on_maps_of_many_blocks(shape: tuple[int, int, int, int]) -> None:
    call = call_of(shape, 3)
    inputs, upstream = on_device(call)
    for gradient in (None, upstream):
        results = run(call, inputs, gradient)
        other = run(
            call,
            tuple(t.cpu() for t in inputs),
            None if gradient is None else gradient.cpu(),
        )
        for a, b in zip(results, other, strict=True):
            torch.testing.assert_close(a.cpu(), b, rtol=1e-4, atol=1e-2)


@on_gpu
@pytest.mark.parametrize('layout', LAYOUTS)
def test_output_follows_the_features_layout(layout: str) -> None:
    call = call_of((2, 4, 3, 5), 3, (layout, 'contiguous', 'contiguous'))
    inputs, _ = on_device(call)
    (output,) = run(call, inputs)
    assert is_channels_last_only(output) == (layout == 'channels_last')


@on_gpu
@pytest.mark.parametrize('call', LARGE[::3], ids=str)
def test_every_run_gives_the_same_bits(call: Call) -> None:
    inputs, upstream = on_device(call)
    for gradient in (None, upstream):
        first = run(call, inputs, gradient)
        for _ in range(5):
            for a, b in zip(first, run(call, inputs, gradient), strict=True):
                assert torch.equal(a, b)


@pytest.fixture
def busy_stream() -> Iterator[torch.cuda.Stream]:
    """A stream that is current, and busy for a while."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        yield stream


@on_gpu
def test_runs_on_the_current_stream(busy_stream: torch.cuda.Stream) -> None:
    call = LARGE[0]
    inputs, upstream = tensors_of(call, torch.float32)
    # What the operators read is only there once the stream gets to it.
    late = tuple(torch.zeros_like(t, device='cuda').copy_(t, non_blocking=True) for t in inputs)
    results = run(call, late) + run(call, late, upstream.cuda(non_blocking=True))
    busy_stream.synchronize()
    assert_expected(call, inputs, [results[0].cpu()])
    assert_expected(call, inputs, [r.cpu() for r in results[1:]], upstream)


@on_gpu
def test_never_synchronises() -> None:
    inputs, upstream = on_device(LARGE[0])
    run(LARGE[0], inputs, upstream)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('error')
    try:
        run(LARGE[0], inputs)
        run(LARGE[0], inputs, upstream)
    finally:
        torch.cuda.set_sync_debug_mode(before)


@on_gpu
@pytest.mark.parametrize('call', [LARGE[0], LARGE[10], LARGE[16], LARGE[19]], ids=str)
def test_is_captured_in_a_cuda_graph(call: Call) -> None:
    inputs, upstream = on_device(call)
    expected = run(call, inputs) + run(call, inputs, upstream)
    held = tuple(torch.zeros_like(t) for t in inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(call, held) + run(call, held, upstream)
    for to, value in zip(held, inputs, strict=True):
        to.copy_(value)
    graph.replay()
    torch.cuda.synchronize()
    for a, b in zip(results, expected, strict=True):
        assert torch.equal(a, b)


@on_gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='there is no second GPU')
def test_runs_on_the_tensors_device() -> None:
    inputs, upstream = on_device(LARGE[0], device='cuda:1')
    results = run(LARGE[0], inputs) + run(LARGE[0], inputs, upstream)
    assert all(r.device == torch.device('cuda:1') for r in results)
    assert torch.cuda.current_device() == 0
    assert_expected(LARGE[0], tuple(t.cpu() for t in inputs), [results[0].cpu()])


@on_gpu
@pytest.mark.parametrize('kernel_combine', ['mul', 'add'])
@pytest.mark.filterwarnings('ignore:.*functorch')
def test_opcheck(kernel_combine: str) -> None:
    x, f, s = (
        torch.randn(n, device='cuda', requires_grad=True)
        for n in ((2, 4, 6, 8), (2, 4, 3, 3), (2, 9, 6, 8))
    )
    torch.library.opcheck(OPS.ddf.default, (x, f, s, [3, 3], [1, 1], [1, 1], kernel_combine))


@on_gpu
def test_tensors_on_two_devices_are_refused() -> None:
    x, f, s = LARGE[0].tensors(torch.float32)
    with pytest.raises(
        (ValueError, RuntimeError), match='channel_filter: expected a tensor on cuda:0'
    ):
        ddf(x.cuda(), f, s.cuda())
    with pytest.raises(RuntimeError, match='channel_filter: expected a tensor on CUDA device 0'):
        OPS.ddf(x.cuda(), f, s.cuda(), [3, 3], [1, 1], [1, 1], 'mul')


@on_gpu
@pytest.mark.parametrize('layout', ['contiguous', 'channels_last'])
def test_more_than_2_to_the_31_elements(layout: str) -> None:
    shape = (1, 64, 5800, 5800)
    if torch.cuda.mem_get_info()[0] < 24 << 30:
        pytest.skip('needs 24 GiB of free memory on the GPU')
    to = torch.channels_last if layout == 'channels_last' else torch.contiguous_format
    x = torch.empty(shape, dtype=torch.bfloat16, device='cuda', memory_format=to).uniform_(-1, 1)
    assert x.numel() > 2**31
    f = torch.rand(1, 64, 3, 3, dtype=x.dtype, device='cuda')
    s = torch.rand(1, 9, 5800, 5800, dtype=x.dtype, device='cuda')
    output = ddf(x, f, s)
    near = (slice(None), slice(-2, None), slice(-9, None), slice(-9, None))
    want = ddf_seg.ops.reference.ddf(x[near].cpu(), f[:, -2:].cpu(), s[..., -9:, -9:].cpu())
    torch.testing.assert_close(
        output[near].cpu()[..., 1:, 1:], want[..., 1:, 1:], rtol=1e-2, atol=1e-2
    )


# --- without a GPU -------------------------------------------------------------------------------


def test_plain_torch_takes_cuda_tensors_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the operators are compiled for the CPU, and not for CUDA."""
    status = native.NativeStatus('cuda', None, '_C_cuda.abi3.so does not exist. Build it.')
    monkeypatch.setattr(native, 'load', lambda device_type: status)
    native.warn_if_plain.cache_clear()
    kernel = plain_kernel(
        OPS.ddf.default, lambda x, *_: x + 1, lambda *_: None, compiled_for=('cpu', 'cuda')
    )
    with FakeTensorMode(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        tensors = [
            torch.empty(n, device='cuda') for n in ((1, 1, 2, 2), (1, 1, 3, 3), (1, 9, 2, 2))
        ]
        for _ in range(2):
            assert kernel(*tensors, [3, 3], [1, 1], [1, 1], 'mul').device.type == 'cuda'
    (warning,) = caught
    expected = 'CUDA tensors: ddf_seg.ops runs in plain torch: _C_cuda.abi3.so does not exist. Bui'
    assert str(warning.message).startswith(expected)
    native.warn_if_plain.cache_clear()


@pytest.mark.skipif(torch.version.cuda is not None, reason='this torch has CUDA')
def test_a_torch_without_cuda_is_the_reason() -> None:
    status = native.load('cuda')
    assert status.built_for is None
    assert 'is a build without CUDA' in status.reason


@pytest.mark.skipif(torch.version.cuda is None, reason='this torch is built without CUDA')
def test_the_dispatcher_has_cpu_cuda_and_meta_kernels() -> None:
    """On a machine without a GPU too."""
    library = native.library_path('cuda')
    if not library.exists():
        pytest.skip(f'this build of ddf_seg has no {library.name}')
    status = native.load('cuda')
    assert status.built_for is not None, status.reason
    softmax = ('interpolation_softmax', 'interpolation_softmax_backward')
    for name in (*ddf_seg.ops.registration.SCHEMAS, *softmax):
        for key in ('CPU', 'CUDA', 'Meta'):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(f'ddf_seg::{name}', key), key
