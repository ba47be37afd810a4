"""Scalar products of a fine map with a coarse map's neighbourhoods: the logits of local attention."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Affinity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, x: Tensor, k: int, r: int) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(q, x)
        ctx.k, ctx.r = k, r
        one = q.new_ones(q.shape[0], q.shape[1], k, k)
        s = q.new_empty(q.shape[0], k * k, *q.shape[2:])
        op = torch.ops.ddf_seg.ddf_upsample_backward
        return op(q, x, one, s, [k, k], r, [1, 1], 'mul', [False, False, True])[2]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # type: ignore[override]
        q, x = ctx.saved_tensors
        k, r = ctx.k, ctx.r
        g = g.contiguous()
        one = q.new_ones(q.shape[0], q.shape[1], k, k)
        ops = torch.ops.ddf_seg
        gq = ops.ddf_upsample(x, one, g, [k, k], r, [1, 1], 'mul')
        gx = ops.ddf_upsample_backward(
            q, x, one, g, [k, k], r, [1, 1], 'mul', [True, False, False]
        )[0]
        return gq, gx, None, None


def affinity(query: Tensor, features: Tensor, kernel_size: int, scale_factor: int) -> Tensor:
    return _Affinity.apply(query.contiguous(), features.contiguous(), kernel_size, scale_factor)
