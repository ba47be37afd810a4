"""`ddf` and `ddf_upsample` as torch knows them: schemas, derivatives, FLOPs.

A gradient that `output_mask` does not ask for, or of a filter that is None, comes back as an empty
tensor of shape (0,).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from . import reference
from .checks import check_ddf, check_ddf_upsample, check_gradient
from .definition import Arguments, define, empty_like_layout
from .multilinear import Group, with_mask

_TENSORS = 'Tensor features, Tensor? channel_filter, Tensor? spatial_filter'
_DDF = 'int[2] kernel_size, int[2] dilation, int[2] stride, str kernel_combine'
_UPSAMPLE = 'int[2] kernel_size, int scale_factor, int[2] dilation, str kernel_combine'
_BACKWARD = '(Tensor grad_output, {}, {}, bool[3] output_mask) -> (Tensor, Tensor, Tensor)'

SCHEMAS = {
    'ddf': f'({_TENSORS}, {_DDF}) -> Tensor',
    'ddf_backward': _BACKWARD.format(_TENSORS, _DDF),
    'ddf_upsample': f'({_TENSORS}, {_UPSAMPLE}) -> Tensor',
    'ddf_upsample_backward': _BACKWARD.format(_TENSORS, _UPSAMPLE),
}
_PER_IMAGE = ('features', 'channel_filter', 'spatial_filter')


def _linear_groups(others: Arguments) -> tuple[Group, ...]:
    """F · S · X is linear in each of (X, F, S); (F + S) · X in X, and in F and S together."""
    return ((0,), (1,), (2,)) if others[-1] == 'mul' else ((0,), (1, 2))


def multiply_adds(output_elements: int, kernel_size: Sequence[int], has_both: bool) -> int:
    """Multiply-adds of a forward pass, as mmengine and the papers of the field count.

    One a tap and output element, · X with its sum; and with both filters F ∘ S before it (a
    multiplication or addition that no other operation follows, but that costs as much).
    """
    return (1 + has_both) * kernel_size[0] * kernel_size[1] * output_elements


def _forward_flops(
    features: Any,
    channel_filter: Any,
    spatial_filter: Any,
    kernel_size: Any,
    *_: Any,
    out_shape: Any,
    **__: Any,
) -> int:
    """Floating point operations: · X and the sum, for each tap, and F ∘ S with both filters."""
    has_both = channel_filter is not None and spatial_filter is not None
    return (2 + has_both) * kernel_size[0] * kernel_size[1] * math.prod(out_shape)


def _backward_flops(
    grad_output: Any,
    features: Any,
    channel_filter: Any,
    spatial_filter: Any,
    kernel_size: Any,
    *arguments: Any,
    **_: Any,
) -> int:
    # With both filters, besides F ∘ S and gO · X, which the gradients share: a product and a sum
    # per tap for each gradient ('mul'); counted alike for 'add', whose products with 1 are not
    # made. Of one filter alone, there are no others.
    filters = (channel_filter, spatial_filter)
    wanted = arguments[-1][0] + sum(
        m and f is not None for m, f in zip(arguments[-1][1:], filters, strict=True)
    )
    per_tap = 2 * all(f is not None for f in filters) + 2 * wanted
    return per_tap * kernel_size[0] * kernel_size[1] * math.prod(grad_output)


def _define(
    name: str,
    check: Callable[..., object],
    forward: Callable[..., Tensor],
    backward: Callable[..., tuple[Tensor, ...]],
    size: Callable[..., tuple[int, int]],
) -> None:
    """Defines an operator and its backward operator.

    Args:
        size: of the output, from the features, the spatial filter and the other arguments.
    """

    def shape(features: Tensor, _: Any, spatial_filter: Tensor | None, *others: Any) -> Any:
        return (*features.shape[:2], *size(features, spatial_filter, *others))

    def fake_forward(features: Tensor, *arguments: Any) -> Tensor:
        return empty_like_layout(features, shape(features, *arguments), features)

    def fake_backward(grad_output: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
        return tuple(
            empty_like_layout(x, tuple(x.shape), x)
            if needed and x is not None
            else grad_output.new_empty(0)
            for x, needed in zip(arguments[:3], arguments[-1], strict=True)
        )

    def check_backward(grad_output: Tensor, *arguments: Any) -> None:
        check(*arguments[:-1])
        check_gradient(grad_output, shape(*arguments[:-1]), 'features', arguments[0])

    derivatives, backward_derivatives = with_mask(name, _linear_groups)
    define(
        name,
        SCHEMAS[name],
        plain=forward,
        fake=fake_forward,
        flops=_forward_flops,
        derivatives=derivatives,
        check=check,
        batched=_PER_IMAGE,
        compiled_for=('cpu', 'cuda'),
        autocast=True,
    )
    define(
        f'{name}_backward',
        SCHEMAS[f'{name}_backward'],
        plain=backward,
        fake=fake_backward,
        flops=_backward_flops,
        derivatives=backward_derivatives,
        check=check_backward,
        batched=('grad_output', *_PER_IMAGE),
        compiled_for=('cpu', 'cuda'),
    )


_define(
    'ddf',
    check_ddf,
    reference.ddf_forward,
    reference.ddf_backward,
    lambda x, s, kernel_size, dilation, stride, *_: reference.strided_size(x, s, stride),
)
_define(
    'ddf_upsample',
    check_ddf_upsample,
    reference.ddf_upsample_forward,
    reference.ddf_upsample_backward,
    lambda x, s, kernel_size, scale_factor, *_: reference.upsampled_size(x, s, scale_factor),
)
