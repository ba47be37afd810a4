"""`ddf` and `ddf_upsample` as torch knows them: schemas, derivatives, FLOPs.

A gradient that `output_mask` does not ask for comes back as an empty tensor of shape (0,).
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from . import reference
from .checks import check_ddf, check_ddf_upsample, check_gradient
from .definition import Arguments, define, empty_like_layout
from .multilinear import Group, with_mask

_TENSORS = 'Tensor features, Tensor channel_filter, Tensor spatial_filter'
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


def _fake_forward(
    features: Tensor, channel_filter: Tensor, spatial_filter: Tensor, *_: Any
) -> Tensor:
    shape = (*features.shape[:2], *spatial_filter.shape[2:])
    return empty_like_layout(features, shape, features)


def _fake_backward(
    grad_output: Tensor,
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    *arguments: Any,
) -> tuple[Tensor, ...]:
    return tuple(
        empty_like_layout(x, tuple(x.shape), x) if needed else x.new_empty(0)
        for x, needed in zip((features, channel_filter, spatial_filter), arguments[-1], strict=True)
    )


def _linear_groups(others: Arguments) -> tuple[Group, ...]:
    """F · S · X is linear in each of (X, F, S); (F + S) · X in X, and in F and S together."""
    return ((0,), (1,), (2,)) if others[-1] == 'mul' else ((0,), (1, 2))


def multiply_adds(output_elements: int, kernel_size: tuple[int, int]) -> int:
    """Multiply-adds of a forward pass, as mmengine and the papers of the field count.

    Two a tap and output element: F ∘ S (a multiplication or addition that no other operation
    follows, but that costs as much), then · X with its sum.
    """
    return 2 * kernel_size[0] * kernel_size[1] * output_elements


def _flops(output_shape: tuple[int, ...], kernel_size: tuple[int, int]) -> int:
    """Floating point operations of a forward pass: F ∘ S, · X and the sum, for each tap."""
    return 3 * kernel_size[0] * kernel_size[1] * math.prod(output_shape)


def _forward_flops(
    features: Any, channel_filter: Any, spatial_filter: Any, kernel_size: Any, *_: Any, **__: Any
) -> int:
    return _flops((*features[:2], *spatial_filter[2:]), kernel_size)


def _backward_flops(
    grad_output: Any,
    features: Any,
    channel_filter: Any,
    spatial_filter: Any,
    kernel_size: Any,
    *arguments: Any,
    **_: Any,
) -> int:
    # Besides F ∘ S and gO · X, which the gradients share: a product and a sum per tap for
    # each gradient ('mul'); counted alike for 'add', whose products with 1 are not made.
    per_tap = 2 + 2 * sum(arguments[-1])
    return per_tap * _flops(grad_output, kernel_size) // 3


for _name, _check, _forward, _backward in (
    ('ddf', check_ddf, reference.ddf_forward, reference.ddf_backward),
    (
        'ddf_upsample',
        check_ddf_upsample,
        reference.ddf_upsample_forward,
        reference.ddf_upsample_backward,
    ),
):
    _derivatives, _backward_derivatives = with_mask(_name, _linear_groups)
    define(
        _name,
        SCHEMAS[_name],
        plain=_forward,
        fake=_fake_forward,
        flops=_forward_flops,
        derivatives=_derivatives,
        check=_check,
        batched=_PER_IMAGE,
        compiled_for=('cpu', 'cuda'),
        autocast=True,
    )

    def _check_backward(grad_output: Tensor, *arguments: Any, check: Any = _check) -> None:
        check(*arguments[:-1])
        features, _, spatial_filter = arguments[:3]
        shape = (*features.shape[:2], *spatial_filter.shape[2:])
        check_gradient(grad_output, shape, 'features', features)

    define(
        f'{_name}_backward',
        SCHEMAS[f'{_name}_backward'],
        plain=_backward,
        fake=_fake_backward,
        flops=_backward_flops,
        derivatives=_backward_derivatives,
        check=_check_backward,
        batched=('grad_output', *_PER_IMAGE),
        compiled_for=('cpu', 'cuda'),
    )
