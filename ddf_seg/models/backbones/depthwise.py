"""Depthwise convolution in bfloat16 whose gradients are not slower than in float32."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def depthwise_conv2d(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """`F.conv2d` with a filter for each channel, as a backbone trains it in mixed precision.

    oneDNN computes two gradients of bfloat16 several times slower than those of float32: that of
    the filters where they are wider than 3×3, and that of the input under a stride. On a CPU this
    computes both in float32.

    Args:
        x: (B, C, H, W).
        weight: (C, 1, k, k), of x's type, or of another under autocast.
        stride: of both directions.
        padding: on all four sides.

    Returns:
        (B, C, ⌊(H + 2·padding − k) / stride⌋ + 1, …), in x's type.
    """
    if (
        x.dtype is not torch.bfloat16
        or x.device.type != 'cpu'
        or not torch.is_grad_enabled()
        or torch.compiler.is_compiling()
    ):
        return F.conv2d(x, weight, None, stride, padding, groups=x.shape[1])
    out: Tensor = _Depthwise.apply(x, weight.to(x.dtype), stride, padding)
    return out


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        in_float32 = (ctx.stride > 1, weight.shape[-1] > 3)  # of the input, of the filters
        found: list[Tensor | None] = [None, None]
        for dtype, here in ((torch.float32, True), (x.dtype, False)):
            asked = [
                needed and slow is here
                for needed, slow in zip(ctx.needs_input_grad, in_float32, strict=False)
            ]
            if any(asked):
                sizes = [ctx.stride] * 2, [ctx.padding] * 2, [1, 1], False, [0, 0], x.shape[1]
                gradients = torch.ops.aten.convolution_backward(
                    *(t.to(dtype) for t in (grad, x, weight)), None, *sizes, [*asked, False]
                )
                found = [
                    old if new is None else new.to(x.dtype)
                    for old, new in zip(found, gradients, strict=False)
                ]
        return found[0], found[1], None, None
