"""Depthwise convolutions, each followed by a 1×1 convolution, of one input: DDF-Up's branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_depthwise_pointwise, check_gradient
from .definition import Arguments, call, define, empty_like_layout, operator
from .multilinear import Group, Multilinear, MultilinearBackward


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
        RuntimeError, ValueError, TypeError: a tensor does not fit; the message names it.
    """
    return call(operator('depthwise_pointwise'), x, depthwise, pointwise, bias)


def _merged(depthwise: Tensor, pointwise: Tensor) -> Tensor:
    """The weight of the one convolution that does both, (P·O, C, k, k)."""
    # Contiguous, or torch's own gradient fails for one output and a depthwise channels_last.
    return (pointwise[..., None, None] * depthwise[:, None]).flatten(0, 1).contiguous()


def _plain_forward(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    y = F.conv2d(x, _merged(depthwise, pointwise), bias, padding=depthwise.shape[-1] // 2)
    return empty_like_layout(x, tuple(y.shape), x).copy_(y)


def _plain_backward(
    grad_output: Tensor, x: Tensor, depthwise: Tensor, pointwise: Tensor
) -> tuple[Tensor, ...]:
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


def _fake_forward(x: Tensor, depthwise: Tensor, pointwise: Tensor, bias: Tensor) -> Tensor:
    return empty_like_layout(x, (x.shape[0], bias.shape[0], *x.shape[2:]), x)


def _fake_backward(
    grad_output: Tensor, x: Tensor, depthwise: Tensor, pointwise: Tensor
) -> tuple[Tensor, ...]:
    return (
        empty_like_layout(x, tuple(x.shape), x),
        torch.empty_like(depthwise, memory_format=torch.contiguous_format),
        torch.empty_like(pointwise, memory_format=torch.contiguous_format),
    )


def _without_bias(tensors: Sequence[Tensor], others: Arguments) -> Tensor:
    pointwise = tensors[2]
    bias = pointwise.new_zeros(()).expand(pointwise.shape[0] * pointwise.shape[1])
    return call(operator('depthwise_pointwise'), *tensors, bias)


def _adjoint(
    upstream: Tensor, tensors: Sequence[Tensor], others: Arguments, mask: Sequence[bool]
) -> Sequence[Tensor | None]:
    return call(operator('depthwise_pointwise_backward'), upstream, *tensors)


class _Derivatives(Multilinear):
    """Linear in x and both filters, and the bias is added."""

    def gradients(
        self, arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        gradients = list(super().gradients(arguments, upstream, needed))
        if needed[3]:
            (above,) = upstream
            assert above is not None
            gradients[3] = above.sum((0, 2, 3))
        return gradients

    def tangents(self, arguments: Arguments, tangents: Sequence[Tensor | None]) -> Tensor:
        x, of_bias = arguments[0], tangents[3]
        change = self.directional(*self.split(arguments), tangents)
        if of_bias is not None:
            added = of_bias.view(1, -1, 1, 1)
            shape = (x.shape[0], of_bias.shape[0], *x.shape[2:])
            change = added.expand(shape).clone() if change is None else change + added
        assert change is not None
        return change


def _check_backward(grad_output: Tensor, x: Tensor, depthwise: Tensor, pointwise: Tensor) -> None:
    check_depthwise_pointwise(x, depthwise, pointwise)
    shape = (x.shape[0], pointwise.shape[0] * pointwise.shape[1], *x.shape[2:])
    check_gradient(grad_output, shape, 'x', x)


def multiply_adds(x: Any, depthwise: Any, pointwise: Any) -> int:
    """Multiply-adds of a forward pass, from the tensors' shapes."""
    batch, channels, height, width = x
    phases, outputs = pointwise[:2]
    return batch * height * width * phases * channels * (depthwise[-1] ** 2 + outputs)


def _forward_flops(x: Any, depthwise: Any, pointwise: Any, *_: Any, **__: Any) -> int:
    return 2 * multiply_adds(x, depthwise, pointwise)


def _backward_flops(grad_output: Any, x: Any, depthwise: Any, pointwise: Any, **_: Any) -> int:
    # As for torch's convolutions: a gradient costs what the forward pass does.
    return 4 * multiply_adds(x, depthwise, pointwise)


def _linear_groups(others: Arguments) -> tuple[Group, ...]:
    return (0,), (1,), (2,)


_TENSORS = 'Tensor x, Tensor depthwise, Tensor pointwise'
_derivatives = _Derivatives(3, _without_bias, _adjoint, _linear_groups)
define(
    'depthwise_pointwise',
    f'({_TENSORS}, Tensor bias) -> Tensor',
    plain=_plain_forward,
    fake=_fake_forward,
    flops=_forward_flops,
    derivatives=_derivatives,
    check=check_depthwise_pointwise,
    batched=('x',),
    autocast=True,
)
define(
    'depthwise_pointwise_backward',
    f'(Tensor grad_output, {_TENSORS}) -> (Tensor, Tensor, Tensor)',
    plain=_plain_backward,
    fake=_fake_backward,
    flops=_backward_flops,
    derivatives=MultilinearBackward(_derivatives, has_mask=False),
    check=_check_backward,
    # The filters' gradients are sums over the images.
    batched=(),
)
