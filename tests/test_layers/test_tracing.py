"""The layers under what takes a model apart: torch.jit.trace, torch.fx, torch.compile."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.async_compile import AsyncCompile

from ddf_seg.layers import DDFConv2d, DDFPack, DDFUpPack
from ddf_seg.ops import ddf, ddf_upsample


class Guided(nn.Module):
    """DDF-Up with a guide that is made from the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.up = DDFUpPack(4, joint_channels=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.low(x), x)


class Bare(nn.Module):
    """The operators without a layer around them."""

    def forward(self, x: Tensor) -> Tensor:
        channel_filter = x.mean((2, 3))[:, :, None, None].expand(-1, -1, 3, 3)
        low = ddf(x, channel_filter, x[:, :1, ::2, ::2].repeat(1, 9, 1, 1), stride=2)
        return ddf_upsample(low, channel_filter, x[:, :1].repeat(1, 9, 1, 1))


MODELS: dict[str, Callable[[], nn.Module]] = {
    'DDFPack': lambda: DDFPack(4, head=2, stride=2),
    'DDFPack softmax': lambda: DDFPack(4, normalization='softmax', kernel_combine='add'),
    'DDFPack spatial': lambda: DDFPack(4, branches='spatial'),
    'DDFPack channel': lambda: DDFPack(4, branches='channel', neutral_start=False),
    'DDFUpPack': lambda: nn.Sequential(DDFUpPack(4, scale_factor=3)),
    'DDFUpPack guided': Guided,
    'DDFConv2d': lambda: DDFConv2d(4, 6, 3, stride=2, padding=0),
    'DDFConv2d wide': lambda: DDFConv2d(4, 4, 3, padding=3, dilation=2),
    'operators': Bare,
}
pytestmark = pytest.mark.filterwarnings('ignore:.*torch.jit.*deprecated:DeprecationWarning')
models = pytest.mark.parametrize('build', MODELS.values(), ids=MODELS)


def features(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@models
@pytest.mark.filterwarnings('error::torch.jit.TracerWarning')
def test_a_trace_is_silent_saves_and_runs_on(build: Callable[[], nn.Module]) -> None:
    """Again and again, with and without gradients, on other sizes than it was made with."""
    model = build().eval()
    traced = torch.jit.trace(model, features(2, 4, 8, 10))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    loaded = torch.jit.load(file)
    for shape in ((2, 4, 8, 10), (1, 4, 6, 14), (3, 4, 8, 8)):
        x = features(*shape).requires_grad_()
        for _ in range(2):
            results = []
            for run in (loaded, model):
                output = run(x)
                results.append((output, *torch.autograd.grad(output.square().sum(), x)))
            torch.testing.assert_close(*results)
        with torch.no_grad():
            torch.testing.assert_close(loaded(x), model(x))


def test_a_trace_still_refuses_what_does_not_fit() -> None:
    """The sizes are checked when it runs."""
    traced = torch.jit.trace(DDFPack(4).eval(), features(1, 4, 6, 6))
    with pytest.raises(RuntimeError):
        traced(features(1, 5, 6, 6))


@models
def test_fx(build: Callable[[], nn.Module]) -> None:
    """Symbolically, for any size; parameters stay parameters; inputs are still checked."""
    model = build().eval()
    traced = torch.fx.symbolic_trace(model)
    for shape in ((2, 4, 8, 10), (1, 4, 6, 14)):
        x = features(*shape)
        assert torch.equal(traced(x), model(x))
    with torch.no_grad():
        for parameter in traced.parameters():
            parameter.mul_(2)
    model.load_state_dict(traced.state_dict())
    assert torch.equal(traced(x), model(x))
    if not isinstance(model, Bare):
        with pytest.raises((ValueError, RuntimeError), match=r'4'):
            traced(features(1, 5, 6, 6))


def test_inductor_takes_sizes_that_are_quotients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, after a pooling and before a convolution: Inductor has to order the strides.

    It would fail before it has kernels to compile, the backward pass' as well. These do nothing
    here: g++ takes a minute.
    """
    made: list[Any] = []

    def compile_nothing(*source: Any) -> Callable[..., None]:
        made.append(source)
        return lambda *_: None

    monkeypatch.setattr(AsyncCompile, 'cpp_pybinding', compile_nothing)
    model = nn.Sequential(nn.MaxPool2d(2), DDFPack(8), DDFUpPack(8), nn.Conv2d(8, 4, 1))
    torch._dynamo.reset()
    # No vectors: to find out which there are takes g++, too.
    with torch._inductor.config.patch({'force_disable_caches': True, 'cpp.simdlen': 1}):
        output = torch.compile(model, dynamic=True, fullgraph=True)(features(2, 8, 16, 24))
        output.sum().backward()
    assert output.shape == (2, 4, 16, 24)
    assert made
    torch._dynamo.reset()
