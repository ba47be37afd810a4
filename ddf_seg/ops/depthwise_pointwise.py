"""Depthwise convolutions, each followed by a 1×1 convolution, of one input: DDF-Up's branches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from .native import warn_if_missing
from .registration import call, empty_like_layout, register_autocast

_TENSORS = 'Tensor x, Tensor depthwise, Tensor pointwise'
_library = torch.library.Library('ddf_seg', 'FRAGMENT')
for _name, _schema in (
    ('depthwise_pointwise', f'({_TENSORS}, Tensor bias) -> Tensor'),
    (
        'depthwise_pointwise_backward',
        f'(Tensor grad_output, {_TENSORS}) -> (Tensor, Tensor, Tensor)',
    ),
):
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))


def depthwise_pointwise(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    """For each of P phases, a depthwise convolution of x followed by a 1×1 convolution.

    The same as one convolution with the weight pointwise · depthwise, (P·O, C, k, k), in
    (k² + O) / (k² · O) of its multiply-adds. Where it is compiled, nothing of the P·C maps between
    the two is kept. Zeros surround x, the stride is 1.

    Args:
        x: (B, C, H, W), float64, float32, float16 or bfloat16.
        depthwise: (P, C, k, k), k odd.
        pointwise: (P, O, C).
        bias: (P·O), added to the result.

    Returns:
        (B, P·O, H, W), in the dtype and memory format of `x`. Under autocast all tensors are cast
        to autocast's dtype.

    Raises:
        RuntimeError: a tensor does not fit; the message names it.
    """
    op = torch.ops.ddf_seg.depthwise_pointwise.default
    return call(op, x, depthwise, pointwise, bias)


def _merged(depthwise: Tensor, pointwise: Tensor) -> Tensor:
    """The weight of the one convolution that does both, (P·O, C, k, k)."""
    return (pointwise[..., None, None] * depthwise[:, None]).flatten(0, 1)


def _plain_forward(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    warn_if_missing()
    y = F.conv2d(x, _merged(depthwise, pointwise), bias, padding=depthwise.shape[-1] // 2)
    return empty_like_layout(x, tuple(y.shape), x).copy_(y)


def _plain_backward(
    grad_output: Tensor, x: Tensor, depthwise: Tensor, pointwise: Tensor
) -> tuple[Tensor, ...]:
    warn_if_missing()
    weight, padding = _merged(depthwise, pointwise), [depthwise.shape[-1] // 2] * 2
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad_output, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [True, True, False]
    )
    by_phase = grad_weight.unflatten(0, pointwise.shape[:2])
    return (
        empty_like_layout(x, tuple(x.shape), x).copy_(grad_x),
        (by_phase * pointwise[..., None, None]).sum(1),
        (by_phase * depthwise[:, None]).sum((3, 4)),
    )


_library.impl('depthwise_pointwise', _plain_forward, 'CompositeExplicitAutograd')
_library.impl('depthwise_pointwise_backward', _plain_backward, 'CompositeExplicitAutograd')


@torch.library.register_fake('ddf_seg::depthwise_pointwise', lib=_library)
def _fake_forward(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    return empty_like_layout(x, (x.shape[0], bias.shape[0], *x.shape[2:]), x)


@torch.library.register_fake('ddf_seg::depthwise_pointwise_backward', lib=_library)
def _fake_backward(
    grad_output: Tensor, x: Tensor, depthwise: Tensor, pointwise: Tensor
) -> tuple[Tensor, ...]:
    return (
        empty_like_layout(x, tuple(x.shape), x),
        torch.empty_like(depthwise, memory_format=torch.contiguous_format),
        torch.empty_like(pointwise, memory_format=torch.contiguous_format),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3])


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    gradients: list[Tensor | None] = [None] * 3
    if any(ctx.needs_input_grad[:3]):
        op = torch.ops.ddf_seg.depthwise_pointwise_backward.default
        gradients = call(op, grad_output, *ctx.saved_tensors)
    of_bias = grad_output.sum((0, 2, 3)) if ctx.needs_input_grad[3] else None
    return (*gradients, of_bias)


def _no_double_backward(ctx: Any, *_: Any) -> None:
    raise NotImplementedError('depthwise_pointwise: second derivatives are not implemented')


torch.library.register_autograd(
    'ddf_seg::depthwise_pointwise', _backward, setup_context=_setup_context, lib=_library
)
torch.library.register_autograd(
    'ddf_seg::depthwise_pointwise_backward', _no_double_backward, lib=_library
)
register_autocast('depthwise_pointwise', _library)


def multiply_adds(x: Any, depthwise: Any, pointwise: Any) -> int:
    """Multiply-adds of a forward pass, from the tensors' shapes."""
    batch, channels, height, width = x
    phases, outputs = pointwise[:2]
    return batch * height * width * phases * channels * (depthwise[-1] ** 2 + outputs)


@register_flop_formula(torch.ops.ddf_seg.depthwise_pointwise)
def _forward_flops(x: Any, depthwise: Any, pointwise: Any, *_: Any, **__: Any) -> int:
    return 2 * multiply_adds(x, depthwise, pointwise)


@register_flop_formula(torch.ops.ddf_seg.depthwise_pointwise_backward)
def _backward_flops(grad_output: Any, x: Any, depthwise: Any, pointwise: Any, **_: Any) -> int:
    # As for torch's convolutions: a gradient costs what the forward pass does.
    return 4 * multiply_adds(x, depthwise, pointwise)
