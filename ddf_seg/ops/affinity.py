"""Scalar products of a fine map with the neighbourhoods of a coarse one: local attention's logits.

What `ddf_upsample` without F is linear in: its spatial filter's gradient is the affinity of the
gradient from above with the features, and its loops serve here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function

from .checks import IntPair, check_affinity
from .definition import Arguments, call, define, empty_like_layout, operator
from .multilinear import Group, Multilinear

SCHEMA = (
    '(Tensor query, Tensor features, int[2] kernel_size, int scale_factor, int[2] dilation)'
    ' -> Tensor'
)


def affinity(
    query: Tensor,
    features: Tensor,
    kernel_size: IntPair = 3,
    scale_factor: int = 1,
    dilation: IntPair = 1,
) -> Tensor:
    r"""Scalar products of every fine pixel's vector with those around its coarse pixel.

    .. math::
        A_{b,t,y,x} = \sum_c Q_{b,c,y,x} \cdot X_{b,c,y',x'}

    with t = iy · kw + ix, y' = min(y // r, H − 1) + (iy − (kh − 1) / 2) · dilation and x' alike,
    r = scale_factor; X is 0 outside the map. Softmax over t makes them the weights of local
    attention, which `ddf_upsample` without a channel filter applies to values.

    Args:
        query: Q, (B, d, H', W') with H' from r·H − (r − 1) to r·H + (r − 1) and W' alike, float64,
            float32, float16 or bfloat16.
        features: X, (B, d, H, W).
        kernel_size: (kh, kw), odd, or one int for both.
        scale_factor: r.
        dilation: distance between taps, in pixels of the features.

    Returns:
        A, (B, kh·kw, H', W'), in the dtype and memory format of the query. Under autocast both
        tensors are cast to autocast's dtype.

    Raises:
        TypeError: the tensors' dtypes are unsupported or differ.
        ValueError: a shape, device or argument does not fit; the message names it.
    """
    tensors = (query, features)
    if has_torch_function(tensors):
        return handle_torch_function(
            affinity, tensors, *tensors, kernel_size, scale_factor, dilation
        )
    kernel, dilations = check_affinity(query, features, kernel_size, scale_factor, dilation)
    return call(operator('affinity'), query, features, kernel, scale_factor, dilations)


def _shape(query: Tensor, kernel_size: Sequence[int]) -> tuple[int, ...]:
    return (query.shape[0], kernel_size[0] * kernel_size[1], *query.shape[2:])


def _as_upsampling(
    features: Tensor, spatial_filter: Tensor, others: Arguments
) -> tuple[tuple[Tensor, None, Tensor], Arguments]:
    """The arguments of `ddf_upsample` without a channel filter."""
    return (features, None, spatial_filter), (*others, 'mul')


def _forward(query: Tensor, features: Tensor, *others: Any) -> Tensor:
    # Only its shape counts: no page of it is touched.
    untouched = empty_like_layout(query, _shape(query, others[0]), query)
    tensors, arguments = _as_upsampling(features, untouched, others)
    backward = operator('ddf_upsample_backward')
    result: Tensor = call(backward, query, *tensors, *arguments, [False, False, True])[2]
    return result


def _fake(query: Tensor, features: Tensor, kernel_size: Sequence[int], *_: Any) -> Tensor:
    return empty_like_layout(query, _shape(query, kernel_size), query)


def _product(tensors: Sequence[Tensor], others: Arguments) -> Tensor:
    return call(operator('affinity'), *tensors, *others)


def _adjoint(
    upstream: Tensor, tensors: Sequence[Tensor], others: Arguments, mask: Sequence[bool]
) -> Sequence[Tensor | None]:
    query, features = tensors
    inputs, arguments = _as_upsampling(features, upstream, others)
    of_query = of_features = None
    if mask[0]:
        of_query = call(operator('ddf_upsample'), *inputs, *arguments)
    if mask[1]:
        backward = operator('ddf_upsample_backward')
        of_features = call(backward, query, *inputs, *arguments, [True, False, False])[0]
    return of_query, of_features


def _linear_groups(others: Arguments) -> Sequence[Group]:
    return (0,), (1,)


def multiply_adds(query_elements: int, kernel_size: Sequence[int]) -> int:
    """Multiply-adds of a forward pass: one a tap and value of the query."""
    return kernel_size[0] * kernel_size[1] * query_elements


def _flops(query: Any, features: Any, kernel_size: Any, *_: Any, **__: Any) -> int:
    return 2 * multiply_adds(math.prod(query), kernel_size)


define(
    'affinity',
    SCHEMA,
    plain=_forward,
    fake=_fake,
    flops=_flops,
    derivatives=Multilinear(2, _product, _adjoint, _linear_groups),
    check=check_affinity,
    batched=('query', 'features'),
    compiled_for=('cpu', 'cuda'),
    autocast=True,
)
