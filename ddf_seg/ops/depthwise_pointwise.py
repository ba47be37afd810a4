"""1×1 convolutions of one input, or of depthwise convolutions of it: what makes spatial filters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_gradient, check_kinds
from .definition import Arguments, call, define, empty_like_layout, operator
from .multilinear import Group, Multilinear, MultilinearBackward

# Of the gradients of x, depthwise and pointwise
_ALL = (True, True, True)


def depthwise_pointwise(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> Tensor:
    """For each of P phases, a depthwise convolution of x followed by a 1×1 convolution.

    The same as one convolution with the weight pointwise · depthwise, (P·O, C, k, k), in
    (k² + O) / (k² · O) of its multiply-adds. Where it is compiled, nothing of the P·C maps between
    the two is kept. Zeros surround x, the stride is 1.

    Args:
        x: (B, C, H, W), float64, float32, float16 or bfloat16.
        depthwise: (P, C, k, k), k odd. None: the 1×1 convolutions take x itself.
        pointwise: (P, O, C).
        bias: (P·O), added to the result.
        scale_factor: r, where the P = r² phases are the pixels of a finer map, row by row: what
            torch.pixel_shuffle makes of them. 1: they lie side by side.

    Returns:
        (B, P·O, H, W), or of a scale factor above 1 (B, O, r·H, r·W), in the dtype and memory
        format of `x`. Under autocast all tensors are cast to autocast's dtype.

    Raises:
        RuntimeError, ValueError, TypeError: a tensor does not fit; the message names it.
    """
    return call(operator('depthwise_pointwise'), x, depthwise, pointwise, bias, scale_factor)


def check_depthwise_pointwise(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> None:
    """Checks the arguments of `depthwise_pointwise`.

    Raises:
        TypeError: unsupported or mixed dtypes.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    _check_kinds(x, depthwise, ('pointwise', pointwise), ('bias', bias))
    check_separable(x, depthwise, pointwise, scale_factor)
    phases, outputs = pointwise.shape[:2]
    if tuple(bias.shape) != (phases * outputs,):
        got = ', '.join(map(str, bias.shape))
        raise ValueError(f'bias: expected shape ({phases * outputs}), got ({got})')


def check_separable(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, scale_factor: int = 1
) -> None:
    """Checks those of them that the gradients depend on, as `check_depthwise_pointwise` does."""
    _check_kinds(x, depthwise, ('pointwise', pointwise))
    if x.dim() != 4 or min(x.shape[1:]) < 1:
        raise ValueError(
            'x: expected 4 dimensions, at least one channel, row and column, '
            f'got shape {tuple(x.shape)}'
        )
    channels = x.shape[1]
    if pointwise.dim() != 3 or min(pointwise.shape) < 1 or pointwise.shape[2] != channels:
        raise ValueError(
            f'pointwise: expected shape (phases, outputs, {channels}), got {tuple(pointwise.shape)}'
        )
    phases = pointwise.shape[0]
    side = _side(depthwise)
    if depthwise is not None and (
        side % 2 == 0 or tuple(depthwise.shape) != (phases, channels, side, side)
    ):
        raise ValueError(
            f'depthwise: expected shape ({phases}, {channels}, side, side) with an odd side, '
            f'got {tuple(depthwise.shape)}'
        )
    if scale_factor != 1 and (scale_factor < 1 or scale_factor**2 != phases):
        raise ValueError(
            f'scale_factor: expected 1, or the root of the number of phases {phases}, '
            f'got {scale_factor}'
        )


def _check_kinds(x: Tensor, depthwise: Tensor | None, *others: tuple[str, Tensor]) -> None:
    first = (('x', x),) if depthwise is None else (('x', x), ('depthwise', depthwise))
    check_kinds((*first, *others))


def _side(depthwise: Tensor | None) -> int:
    if depthwise is None:
        return 1
    return depthwise.shape[-1] if depthwise.dim() else 0


def as_convolution(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> Tensor:
    """The same as one convolution, of functions of torch's alone."""
    weight = _merged(depthwise, pointwise, scale_factor)
    if scale_factor > 1:
        bias = bias.unflatten(0, pointwise.shape[:2]).transpose(0, 1).flatten()
    y = F.conv2d(x, weight, bias, padding=_side(depthwise) // 2)
    return F.pixel_shuffle(y, scale_factor) if scale_factor > 1 else y


def _merged(depthwise: Tensor | None, pointwise: Tensor, scale_factor: int) -> Tensor:
    """The weight of the one convolution that does both, (P·O, C, k, k).

    With a scale factor (O·P, C, k, k): torch's order of what a pixel shuffle takes.
    """
    weight = pointwise[..., None, None]
    if depthwise is not None:
        weight = weight * depthwise[:, None]
    if scale_factor > 1:
        weight = weight.transpose(0, 1)
    # Contiguous, or torch's own gradient fails for one output and a depthwise channels_last.
    return weight.flatten(0, 1).contiguous()


def _plain_forward(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> Tensor:
    y = as_convolution(x, depthwise, pointwise, bias, scale_factor)
    return empty_like_layout(x, tuple(y.shape), x).copy_(y)


def _wanted(depthwise: Any, output_mask: Sequence[bool]) -> tuple[bool, bool, bool]:
    """Whether there is a gradient of x, depthwise and pointwise; others are of shape (0,)."""
    of_x, of_depthwise, of_pointwise = output_mask
    return of_x, of_depthwise and depthwise is not None, of_pointwise


def _plain_backward(
    grad_output: Tensor,
    x: Tensor,
    depthwise: Tensor | None,
    pointwise: Tensor,
    scale_factor: int = 1,
    output_mask: Sequence[bool] = _ALL,
) -> tuple[Tensor, ...]:
    of_x, of_depthwise, of_pointwise = _wanted(depthwise, output_mask)
    weight = _merged(depthwise, pointwise, scale_factor)
    padding = [_side(depthwise) // 2] * 2
    phases, outputs = pointwise.shape[:2]
    if scale_factor > 1:
        # torch.pixel_unshuffle leaves a batch of no image as it is.
        cells = grad_output.unflatten(3, (-1, scale_factor)).unflatten(2, (-1, scale_factor))
        grad_output = cells.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    mask = [of_x, of_depthwise or of_pointwise, False]
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad_output, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, mask
    )
    gradients = [x.new_empty(0) for _ in range(3)]
    if of_x:
        gradients[0] = empty_like_layout(x, tuple(x.shape), x).copy_(grad_x)
    if not mask[1]:
        return tuple(gradients)
    if scale_factor > 1:
        by_phase = grad_weight.unflatten(0, (outputs, phases)).transpose(0, 1)
    else:
        by_phase = grad_weight.unflatten(0, (phases, outputs))
    if depthwise is None:
        gradients[2] = by_phase.squeeze((3, 4)).contiguous()
        return tuple(gradients)
    if of_depthwise:
        gradients[1] = (by_phase * pointwise[..., None, None]).sum(1)
    if of_pointwise:
        gradients[2] = (by_phase * depthwise[:, None]).sum((3, 4))
    return tuple(gradients)


def _result_shape(x: Tensor, pointwise: Tensor, scale_factor: int) -> tuple[int, ...]:
    batch, _, height, width = x.shape
    phases, outputs = pointwise.shape[:2]
    if scale_factor == 1:
        return batch, phases * outputs, height, width
    return batch, outputs, scale_factor * height, scale_factor * width


def _fake_forward(
    x: Tensor, depthwise: Tensor | None, pointwise: Tensor, bias: Tensor, scale_factor: int = 1
) -> Tensor:
    return empty_like_layout(x, _result_shape(x, pointwise, scale_factor), x)


def _fake_backward(
    grad_output: Tensor,
    x: Tensor,
    depthwise: Tensor | None,
    pointwise: Tensor,
    scale_factor: int = 1,
    output_mask: Sequence[bool] = _ALL,
) -> tuple[Tensor, ...]:
    gradients = [x.new_empty(0) for _ in range(3)]
    if output_mask[0]:
        gradients[0] = empty_like_layout(x, tuple(x.shape), x)
    for i, weight in ((1, depthwise), (2, pointwise)):
        if output_mask[i] and weight is not None:
            gradients[i] = torch.empty_like(weight, memory_format=torch.contiguous_format)
    return tuple(gradients)


def _scale(others: Arguments) -> int:
    """The scale factor, last of an operator's arguments; torch leaves it out where it is 1."""
    return 1 if not others or isinstance(others[-1], Tensor) else others[-1]


def _without_bias(tensors: Sequence[Tensor], others: Arguments) -> Tensor:
    pointwise = tensors[2]
    bias = pointwise.new_zeros(()).expand(pointwise.shape[0] * pointwise.shape[1])
    return call(operator('depthwise_pointwise'), *tensors, bias, _scale(others))


def _adjoint(
    upstream: Tensor, tensors: Sequence[Tensor], others: Arguments, mask: Sequence[bool]
) -> Sequence[Tensor | None]:
    op = operator('depthwise_pointwise_backward')
    return call(op, upstream, *tensors, _scale(others), list(mask))


def _bias_gradient(above: Tensor, r: int) -> Tensor:
    if r == 1:
        return above.sum((0, 2, 3))
    # Rows first, which lie in one piece, and rounded once
    wide = torch.promote_types(above.dtype, torch.float32)
    by_column = above.unflatten(2, (-1, r)).sum((0, 2), dtype=wide)
    by_phase = by_column.unflatten(2, (-1, r)).sum(2)
    return by_phase.movedim(0, 2).flatten().to(above.dtype)


def _bias_on_map(bias: Tensor, x: Tensor, pointwise: Tensor, r: int) -> Tensor:
    """What a bias adds to the result."""
    if r == 1:
        return bias.view(1, -1, 1, 1).expand(_result_shape(x, pointwise, r))
    of_pixel = bias.view(r, r, -1).movedim(2, 0)
    return of_pixel.repeat(1, *x.shape[2:]).expand(x.shape[0], -1, -1, -1)


class _Derivatives(Multilinear):
    """Linear in x and both filters, and the bias is added."""

    def gradients(
        self, arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        gradients = list(super().gradients(arguments, upstream, needed))
        if needed[3]:
            (above,) = upstream
            assert above is not None
            gradients[3] = _bias_gradient(above, _scale(arguments))
        return gradients

    def tangents(self, arguments: Arguments, tangents: Sequence[Tensor | None]) -> Tensor:
        x, _, pointwise = arguments[:3]
        of_bias = tangents[3]
        change = self.directional(*self.split(arguments), tangents)
        if of_bias is not None:
            added = _bias_on_map(of_bias, x, pointwise, _scale(arguments))
            change = added.clone() if change is None else change + added
        assert change is not None
        return change


def _check_backward(
    grad_output: Tensor,
    x: Tensor,
    depthwise: Tensor | None,
    pointwise: Tensor,
    scale_factor: int = 1,
    output_mask: Sequence[bool] = _ALL,
) -> None:
    check_separable(x, depthwise, pointwise, scale_factor)
    check_gradient(grad_output, _result_shape(x, pointwise, scale_factor), 'x', x)
    if len(output_mask) != 3:
        raise ValueError(f'output_mask: expected three values, got {len(output_mask)}')


def multiply_adds(x: Any, depthwise: Any, pointwise: Any) -> int:
    """Multiply-adds of a forward pass, from the tensors' shapes."""
    batch, channels, height, width = x
    phases, outputs = pointwise[:2]
    taps = 0 if depthwise is None else depthwise[-1] ** 2
    return batch * height * width * phases * channels * (taps + outputs)


def _forward_flops(x: Any, depthwise: Any, pointwise: Any, *_: Any, **__: Any) -> int:
    return 2 * multiply_adds(x, depthwise, pointwise)


def _backward_flops(
    grad_output: Any,
    x: Any,
    depthwise: Any,
    pointwise: Any,
    scale_factor: int = 1,
    output_mask: Sequence[bool] = _ALL,
    **_: Any,
) -> int:
    # As for torch's convolutions: a gradient costs what the forward pass does, of the input and of
    # the weights.
    of_x, *of_weights = _wanted(depthwise, output_mask)
    return 2 * (of_x + any(of_weights)) * multiply_adds(x, depthwise, pointwise)


def _linear_groups(others: Arguments) -> tuple[Group, ...]:
    return (0,), (1,), (2,)


_TENSORS = 'Tensor x, Tensor? depthwise, Tensor pointwise'
_derivatives = _Derivatives(3, _without_bias, _adjoint, _linear_groups)
define(
    'depthwise_pointwise',
    f'({_TENSORS}, Tensor bias, int scale_factor=1) -> Tensor',
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
    f'(Tensor grad_output, {_TENSORS}, int scale_factor=1, bool[3] output_mask={list(_ALL)})'
    ' -> (Tensor, Tensor, Tensor)',
    plain=_plain_backward,
    fake=_fake_backward,
    flops=_backward_flops,
    derivatives=MultilinearBackward(_derivatives),
    check=_check_backward,
    # The filters' gradients are sums over the images.
    batched=(),
)
