"""The implementations that every numerical test runs on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import ddf_seg.ops
from ddf_seg.ops import checks, reference


@dataclass(frozen=True)
class Implementation:
    """The two operators as users call them, and their written-out gradients as the schemas have."""

    ddf: Callable[..., Tensor]
    ddf_upsample: Callable[..., Tensor]
    ddf_backward: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None
    ddf_upsample_backward: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None


def _function(
    forward: Callable[..., Tensor], backward: Callable[..., tuple[Tensor, ...]]
) -> Callable[..., Tensor]:
    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Tensor:
            ctx.save_for_backward(*inputs[:3])
            ctx.arguments = inputs[3:]
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
            mask = list(ctx.needs_input_grad[:3])
            gradients = backward(grad_output, *ctx.saved_tensors, *ctx.arguments, mask)
            kept = [g if needed else None for g, needed in zip(gradients, mask, strict=True)]
            return (*kept, *[None] * len(ctx.arguments))

    return Function.apply


def _plain_ddf(
    x: Tensor,
    f: Tensor | None,
    s: Tensor | None,
    kernel_size: checks.IntPair = 3,
    dilation: checks.IntPair = 1,
    stride: checks.IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    pairs = checks.check_ddf(x, f, s, kernel_size, dilation, stride, kernel_combine)
    function = _function(reference.ddf_forward, reference.ddf_backward)
    return function(x, f, s, *pairs, kernel_combine)


def _plain_ddf_upsample(
    x: Tensor,
    f: Tensor | None,
    s: Tensor | None,
    kernel_size: checks.IntPair = 3,
    scale_factor: int = 2,
    dilation: checks.IntPair = 1,
    kernel_combine: str = 'mul',
) -> Tensor:
    kernel, dilations = checks.check_ddf_upsample(
        x, f, s, kernel_size, scale_factor, dilation, kernel_combine
    )
    function = _function(reference.ddf_upsample_forward, reference.ddf_upsample_backward)
    return function(x, f, s, kernel, scale_factor, dilations, kernel_combine)


IMPLEMENTATIONS = {
    # Whatever torch's dispatcher prefers: compiled code where it is built (the environment
    # variable DDF_SEG_CPU_CAPABILITY forces its instruction set), plain torch elsewhere.
    'dispatched': Implementation(
        ddf_seg.ops.ddf,
        ddf_seg.ops.ddf_upsample,
        torch.ops.ddf_seg.ddf_backward,
        torch.ops.ddf_seg.ddf_upsample_backward,
    ),
    # What the dispatcher falls back to, also where it need not.
    'plain_torch': Implementation(
        _plain_ddf,
        _plain_ddf_upsample,
        reference.ddf_backward,
        reference.ddf_upsample_backward,
    ),
    # The gradients of this one are torch's own.
    'reference': Implementation(reference.ddf, reference.ddf_upsample),
}
