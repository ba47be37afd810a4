"""The layers, and the operators under torch's transformations, on a GPU."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ddf_seg.layers import DDFPack, DDFUpPack
from ddf_seg.ops import ddf, ddf_upsample, native
from ddf_seg.ops.depthwise_pointwise import depthwise_pointwise

DEVICE = 'cuda'
pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason='torch sees no GPU: nothing of this runs elsewhere'
)
LAYERS: dict[str, Callable[[], nn.Module]] = {
    'DDFPack': lambda: DDFPack(16),
    'DDFPack, stride 2': lambda: DDFPack(16, stride=2, head=2),
    'DDFUpPack': lambda: DDFUpPack(16),
    'DDFUpPack, spatial alone': lambda: DDFUpPack(16, branches='spatial'),
}
LAYOUTS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}
layers = pytest.mark.parametrize('name', LAYERS)
layouts = pytest.mark.parametrize('layout', LAYOUTS)


@pytest.fixture(autouse=True)
def _compiled_and_exact() -> None:
    if native.load('cuda').built_for is None:
        pytest.skip(f'there is a GPU, but no CUDA kernels: {native.load("cuda").reason}')
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def made(name: str, layout: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """The layer on the GPU, the same on the CPU, and features on the GPU."""
    torch.manual_seed(0)
    on_cpu = LAYERS[name]()
    x = torch.randn(2, 16, 18, 26).contiguous(memory_format=LAYOUTS[layout])
    return copy.deepcopy(on_cpu).to(DEVICE), on_cpu, x.to(DEVICE)


def gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of the input and of every parameter, on the CPU."""
    x = x.detach().requires_grad_()
    output = layer(x)
    wanted = [x, *layer.parameters()]
    found = torch.autograd.grad(output.float().square().mean(), wanted)
    return [t.detach().cpu() for t in (output, *found)]


@layers
@layouts
def test_layer_agrees_with_the_cpu(name: str, layout: str) -> None:
    layer, on_cpu, x = made(name, layout)
    for got, want in zip(gradients(layer, x), gradients(on_cpu, x.cpu()), strict=True):
        torch.testing.assert_close(got, want, rtol=2e-3, atol=2e-4)


def test_kernels_of_a_layer() -> None:
    layer, _, x = made('DDFPack', 'contiguous')
    with torch.no_grad(), native.launched_kernels() as names:
        layer(x)
    assert sorted(names) == ['filter_columns', *['norm_filter'] * 2, *['weight_gain'] * 2]


@layers
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_layer_under_autocast(name: str, dtype: torch.dtype) -> None:
    layer, _, x = made(name, 'contiguous')
    want = layer(x)
    with torch.autocast(DEVICE, dtype):
        got = layer(x)
        loss = got.float().square().mean()
    assert got.dtype == dtype
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    error = (got.float() - want).abs().max() / want.abs().max()
    assert error < (0.02 if dtype == torch.float16 else 0.1)


@layers
def test_layer_compiled_by_inductor(name: str) -> None:
    layer, _, x = made(name, 'contiguous')
    compiled = torch.compile(layer, fullgraph=True)
    for got, want in zip(gradients(compiled, x), gradients(layer, x), strict=True):
        torch.testing.assert_close(got, want, rtol=2e-3, atol=2e-4)


@layers
def test_layer_in_a_cuda_graph(name: str) -> None:
    layer, _, x = made(name, 'contiguous')
    with torch.no_grad():
        want = layer(x)
        held = torch.zeros_like(x)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            got = layer(held)
        held.copy_(x)
        graph.replay()
    torch.testing.assert_close(got, want)


FIRST_CALL = """
import torch
from ddf_seg.ops import ddf
x, f, s = (torch.rand(n, device='cuda') for n in ((1, 8, 9, 20), (1, 8, 3, 3), (1, 9, 9, 20)))
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    output = ddf(x, f, s)
graph.replay()
torch.testing.assert_close(output, ddf(x, f, s), rtol=0, atol=0)
print(float(output.sum()) > 0)
"""


def test_the_first_call_of_a_process_can_be_captured() -> None:
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FIRST_CALL],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == 'True', done.stderr


def test_the_operator_without_cuda_kernels_agrees_with_the_cpu() -> None:
    weights = [torch.randn(n) for n in ((4, 8, 3, 3), (4, 9, 8), (36,))]
    x = torch.randn(2, 8, 7, 9)
    got = depthwise_pointwise(x.to(DEVICE), *(w.to(DEVICE) for w in weights))
    torch.testing.assert_close(got.cpu(), depthwise_pointwise(x, *weights), rtol=1e-4, atol=1e-4)


def off_alignment(x: Tensor) -> Tensor:
    """The same values and strides, one element further on in memory."""
    memory = torch.empty(x.untyped_storage().nbytes() // x.element_size() + 1, dtype=x.dtype)
    return memory.to(x.device).as_strided(x.shape, x.stride(), 1).copy_(x)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_vectors_and_single_values_give_the_same_bits(dtype: torch.dtype) -> None:
    tensors = [
        torch.randn(n, device=DEVICE).to(dtype)
        for n in ((2, 8, 9, 32), (2, 8, 3, 3), (2, 9, 9, 32))
    ]
    with native.launched_kernels() as names:
        vectors = ddf(*tensors)
    assert names == ['filter_rows']
    with native.launched_kernels() as names:
        singles = ddf(*map(off_alignment, tensors))
    assert names == ['filter_columns']
    assert torch.equal(vectors, singles)


def test_more_than_2_to_the_31_elements_backward() -> None:
    if torch.cuda.mem_get_info()[0] < 40 << 30:
        pytest.skip('needs 40 GiB of free memory on the GPU')
    side = 5800
    x = torch.ones(1, 64, side, side, dtype=torch.bfloat16, device=DEVICE)
    f = torch.ones(1, 64, 3, 3, dtype=x.dtype, device=DEVICE)
    s = torch.ones(1, 9, side, side, dtype=x.dtype, device=DEVICE)
    of_x, of_f, of_s = torch.ops.ddf_seg.ddf_backward(
        x, x, f, s, [3, 3], [1, 1], [1, 1], 'mul', [True] * 3
    )
    # Every pixel is read nine times, at a border six, in a corner four; by 64 channels.
    assert of_x[0, -1, -1, -3:].tolist() == [6, 6, 4]
    assert of_x[0, -1, -3, -3:].tolist() == [9, 9, 6]
    assert of_s[0, :, -1, -1].tolist() == [64, 64, 0, 64, 64, 0, 0, 0, 0]
    torch.testing.assert_close(
        of_f[0, -1, 1, 1].float(), torch.tensor(side**2.0, device=DEVICE), rtol=1e-2, atol=0
    )


def test_upsampling_agrees_with_the_cpu_where_sizes_are_odd() -> None:
    x, f, s = torch.randn(1, 8, 5, 7), torch.randn(1, 4, 8, 3, 3), torch.randn(1, 9, 11, 13)
    got = ddf_upsample(*(t.to(DEVICE) for t in (x, f, s)))
    torch.testing.assert_close(got.cpu(), ddf_upsample(x, f, s), rtol=1e-4, atol=1e-4)
