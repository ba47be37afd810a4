"""Upsampling filters that deviate from interpolation by a softmax: one pass where compiled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .affinity import affinity
from .affinity import multiply_adds as affinity_multiply_adds
from .checks import MOST_SCALE, check_gradient, check_int, check_kinds, check_upsampled
from .definition import Arguments, call, define, empty_like_layout, operator

# Of rows and columns: the prior's logarithm, its softmax; then the weights of each map.
LOG_PRIOR, START, WEIGHTS = 0, 1, 2


def interpolation_softmax(
    logits: Tensor,
    query: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    scale_factor: int,
) -> Tensor:
    r"""Filters that are interpolation's weights while the logits equal 0, of one or more maps.

    .. math::
        K_{m,i}(p) = b_{m,i}(p) + softmax_i(\log b'_i(p) + l_i(p) + a_i(p)) - softmax_i(\log b'(p))

    with tap i, map m and fine pixel p; a are the products of the query with the key
    (`affinity`), b the map's weights and b' the prior. Both are products of a value for the row
    and one for the column, of which there are tables.

    Args:
        logits: l, (B, groups·k², H', W'), float64, float32, float16 or bfloat16.
        query: (B, groups·d, H', W') in the dtype of the logits; None: a = 0.
        key: (B, groups·d, H, W), with H' from r·H − (r − 1) to r·H + (r − 1) and W' alike; given
            with the query.
        rows: (2 + maps, k, H') with odd k: the prior's logarithm, its softmax, and each map's
            weights. float32, or float64 with such logits; without gradient.
        columns: (2 + maps, k, W'), alike.
        scale_factor: r.

    Returns:
        K, (B, maps·groups·k², H', W'), in the dtype and memory format of the logits. Sums are in
        float32, or float64 for float64.

    Raises:
        TypeError, ValueError, RuntimeError: an argument does not fit; the message names it.
    """
    return call(operator('interpolation_softmax'), logits, query, key, rows, columns, scale_factor)


def table_dtype(logits: Tensor) -> torch.dtype:
    """The dtype that `rows` and `columns` have to have with these logits."""
    return torch.promote_types(logits.dtype, torch.float32)


def check_interpolation_softmax(
    logits: Tensor,
    query: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    scale_factor: int,
) -> None:
    """Checks the arguments of `interpolation_softmax`.

    Raises:
        TypeError: an unsupported or another dtype.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    check_int('scale_factor', scale_factor, most=MOST_SCALE)
    if (query is None) != (key is None):
        raise ValueError('query, key: expected both or none')
    named = [('logits', logits), ('query', query), ('key', key)]
    check_kinds([(name, x) for name, x in named if x is not None])
    shape = tuple(logits.shape)
    if logits.dim() != 4:
        raise ValueError(f'logits: expected 4 dimensions, got shape {shape}')
    tables, k = (*rows.shape, 0, 0)[:2]
    for name, table, size in (('rows', rows, shape[2]), ('columns', columns, shape[3])):
        if table.dtype != table_dtype(logits):
            raise TypeError(f'{name}: expected {table_dtype(logits)}, got {table.dtype}')
        if tables <= WEIGHTS or k % 2 == 0 or tuple(table.shape) != (tables, k, size):
            raise ValueError(
                f'{name}: expected shape (2 + maps, kernel_size, {size}) with an odd kernel_size, '
                f'as rows and columns share, got {tuple(table.shape)}'
            )
    if shape[1] < k * k or shape[1] % (k * k):
        raise ValueError(
            f'logits: expected shape (batch, groups * {k * k}, height, width), got {shape}'
        )
    if query is None or key is None:
        return
    groups = shape[1] // (k * k)
    of_query, of_key = tuple(query.shape), tuple(key.shape)
    fits = len(of_query) == 4 and (of_query[0], *of_query[2:]) == (shape[0], *shape[2:])
    if not fits or of_query[1] < groups or of_query[1] % groups:
        raise ValueError(
            f'query: expected the batch and size of logits {shape} and a multiple of {groups} '
            f'channels, got shape {of_query}'
        )
    if len(of_key) != 4 or of_key[:2] != of_query[:2] or min(of_key[2:]) < 1:
        raise ValueError(
            f'key: expected the batch and channels of query {of_query}, got shape {of_key}'
        )
    check_upsampled('logits', logits, key, scale_factor)


def _outer(rows: Tensor, columns: Tensor, combine: Any) -> Tensor:
    """Two axes' tables, (…, k, H') and (…, k, W'), combined to (…, k², H', W')."""
    combined: Tensor = combine(rows[..., :, None, :, None], columns[..., None, :, None, :])
    return combined.flatten(-4, -3)


def _products(query: Tensor, key: Tensor, k: int, scale_factor: int, groups: int) -> Tensor:
    """(B, groups·k², H', W')."""
    if groups > 1:
        query, key = (x.unflatten(1, (groups, -1)).flatten(0, 1) for x in (query, key))
    products = affinity(query, key, k, scale_factor)
    return products.view(-1, groups * k * k, *products.shape[2:])


def _raised(
    logits: Tensor,
    query: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    scale_factor: int,
) -> Tensor:
    """The softmax, (B, groups, k², H', W'), in the type of the sums."""
    k = rows.shape[1]
    wide = logits.to(rows.dtype)
    if query is not None and key is not None:
        groups = logits.shape[1] // (k * k)
        wide = wide + _products(query, key, k, scale_factor, groups)
    prior = _outer(rows[LOG_PRIOR], columns[LOG_PRIOR], torch.add)
    return (wide.unflatten(1, (-1, k * k)) + prior).softmax(dim=2)


def as_torch(
    logits: Tensor,
    query: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    scale_factor: int,
) -> Tensor:
    """`interpolation_softmax` in torch's own functions and `affinity`, in no layout of its own."""
    start = _outer(rows[START], columns[START], torch.mul)
    deviation = _raised(logits, query, key, rows, columns, scale_factor) - start
    weights = _outer(rows[WEIGHTS:], columns[WEIGHTS:], torch.mul)
    # (B, maps, groups, k², H', W')
    return (deviation[:, None] + weights[:, None]).flatten(1, 3).to(logits.dtype)


def _in_layout_of(x: Tensor, like: Tensor) -> Tensor:
    return empty_like_layout(like, tuple(x.shape), like).copy_(x)


def _plain_forward(logits: Tensor, *arguments: Any) -> Tensor:
    return _in_layout_of(as_torch(logits, *arguments), logits)


def _of_softmax(raised: Tensor, upstream: Tensor) -> Tensor:
    """The softmax' Jacobian, which is symmetric, times a vector; both (B, groups, k², H', W')."""
    return raised * (upstream - (raised * upstream).sum(dim=2, keepdim=True))


def _of_all_maps(grad_output: Tensor, logits: Tensor, rows: Tensor) -> Tensor:
    """The sum over the maps, (B, groups, k², H', W')."""
    by_map = grad_output.to(rows.dtype).unflatten(1, (-1, logits.shape[1])).sum(dim=1)
    return by_map.unflatten(1, (-1, rows.shape[1] ** 2))


def _plain_backward(grad_output: Tensor, logits: Tensor, *arguments: Any) -> Tensor:
    upstream = _of_all_maps(grad_output, logits, arguments[2])
    gradient = _of_softmax(_raised(logits, *arguments), upstream)
    return _in_layout_of(gradient.flatten(1, 2), logits)


def _fake_forward(logits: Tensor, query: Any, key: Any, rows: Tensor, *_: Any) -> Tensor:
    batch, channels, *size = logits.shape
    return empty_like_layout(logits, (batch, (rows.shape[0] - WEIGHTS) * channels, *size), logits)


def _fake_backward(grad_output: Tensor, logits: Tensor, *_: Any) -> Tensor:
    return empty_like_layout(logits, tuple(logits.shape), logits)


Tensors = Sequence[Tensor | None]


def _through_logits(
    of_logits: Tensor, arguments: Arguments, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of all arguments, from that of the logits: the products are added to these."""
    _, query, key, rows, _, scale_factor = arguments
    _refuse_tables(needed[3:5])
    found: list[Tensor | None] = [of_logits if needed[0] else None, *[None] * 5]
    if query is None or not any(needed[1:3]):
        return found
    k = rows.shape[1]
    others = (key, None, of_logits, [k, k], scale_factor, [1, 1], 'mul')
    if needed[1]:
        found[1] = call(operator('ddf_upsample'), *others)
    if needed[2]:
        backward = operator('ddf_upsample_backward')
        found[2] = call(backward, query, *others, [True, False, False])[0]
    return found


def _change_of_logits(arguments: Arguments, tangents: Tensors) -> Tensor | None:
    """How much the logits and the products change."""
    logits, query, key, rows, _, scale_factor = arguments
    of_logits, of_query, of_key, *of_tables = tangents
    _refuse_tables([tangent is not None for tangent in of_tables[:2]])
    k = rows.shape[1]
    change = of_logits
    for q, x in ((of_query, key), (query, of_key)):
        if q is not None and x is not None:
            products = _products(q, x, k, scale_factor, logits.shape[1] // (k * k))
            change = products if change is None else change + products
    return change


def _refuse_tables(has_derivative: Sequence[bool]) -> None:
    if any(has_derivative):
        raise NotImplementedError(
            'rows, columns: expected tables without gradient or tangent (detach them)'
        )


def _backward(grad_output: Tensor, arguments: Arguments) -> Tensor:
    return call(operator('interpolation_softmax_backward'), grad_output, *arguments)


def _of_one_map(upstream: Tensor, arguments: Arguments) -> Tensor:
    """The softmax' Jacobian times a vector, (B, groups·k², H', W')."""
    logits, query, key, rows, columns, scale_factor = arguments
    tables = (table[: WEIGHTS + 1] for table in (rows, columns))
    return _backward(upstream, (logits, query, key, *tables, scale_factor))


def _for_all_maps(x: Tensor, rows: Tensor) -> Tensor:
    return x.repeat(1, rows.shape[0] - WEIGHTS, 1, 1)


class _Derivatives:
    """All maps' filters change alike, by the softmax' Jacobian."""

    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> list[Tensor | None]:
        (above,) = upstream
        assert above is not None
        return _through_logits(_backward(above, arguments), arguments, needed)

    @staticmethod
    def tangents(arguments: Arguments, tangents: Tensors) -> Tensor:
        change = _change_of_logits(arguments, tangents)
        assert change is not None
        return _for_all_maps(_of_one_map(change, arguments), arguments[3])


def _bend(along: Tensor, above: Tensor, arguments: Arguments) -> Tensor:
    """How the gradient changes as the logits do by `along`; symmetric in the first two.

    The Jacobian of a softmax p maps u to p ∘ (u − p·u), and v·(Jacobian u) has, to p, the gradient
    w = u ∘ v − (p·u) v − (p·v) u; to the logits, that is the Jacobian times w.
    """
    logits, *others = arguments
    raised = _raised(logits, *others)
    u = _of_all_maps(above, logits, others[2])
    v = along.to(raised.dtype).unflatten(1, raised.shape[1:3])

    def mean(x: Tensor) -> Tensor:
        return (raised * x).sum(dim=2, keepdim=True)

    change = _of_softmax(raised, u * v - mean(u) * v - mean(v) * u)
    return change.flatten(1, 2).to(logits.dtype)


class _BackwardDerivatives:
    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> list[Tensor | None]:
        (along,) = upstream
        assert along is not None
        above, *rest = arguments
        of_above = None
        if needed[0]:
            of_above = _for_all_maps(_of_one_map(along, tuple(rest)), rest[3])
        if not any(needed[1:]):
            return [of_above, *[None] * 6]
        bend = _bend(along, above, tuple(rest))
        return [of_above, *_through_logits(bend, tuple(rest), needed[1:])]

    @staticmethod
    def tangents(arguments: Arguments, tangents: Tensors) -> Tensor:
        above, *rest = arguments
        of_above, *of_rest = tangents
        change = _change_of_logits(tuple(rest), of_rest)
        bent = None if change is None else _bend(change, above, tuple(rest))
        if of_above is None:
            assert bent is not None
            return bent
        moved = _backward(of_above, tuple(rest))
        return moved if bent is None else moved + bent


def _check_backward(grad_output: Tensor, logits: Tensor, *arguments: Any) -> None:
    check_interpolation_softmax(logits, *arguments)
    maps = arguments[2].shape[0] - WEIGHTS
    shape = (logits.shape[0], maps * logits.shape[1], *logits.shape[2:])
    check_gradient(grad_output, shape, 'logits', logits)


def multiply_adds(query: Sequence[int], kernel_size: int) -> int:
    """Multiply-adds of a forward pass: those of the products, from the query's shape."""
    return affinity_multiply_adds(math.prod(query), (kernel_size, kernel_size))


def _flops(logits: Any, query: Any, key: Any, rows: Any, *_: Any, **__: Any) -> int:
    return 0 if query is None else 2 * multiply_adds(query, rows[1])


def _backward_flops(grad_output: Any, *arguments: Any, **_: Any) -> int:
    return _flops(*arguments)


_ARGUMENTS = (
    'Tensor logits, Tensor? query, Tensor? key, Tensor rows, Tensor columns, int scale_factor'
)
define(
    'interpolation_softmax',
    f'({_ARGUMENTS}) -> Tensor',
    plain=_plain_forward,
    fake=_fake_forward,
    flops=_flops,
    derivatives=_Derivatives(),
    check=check_interpolation_softmax,
    batched=('logits', 'query', 'key'),
    compiled_for=('cpu', 'cuda'),
)
define(
    'interpolation_softmax_backward',
    f'(Tensor grad_output, {_ARGUMENTS}) -> Tensor',
    plain=_plain_backward,
    fake=_fake_backward,
    flops=_backward_flops,
    derivatives=_BackwardDerivatives(),
    check=_check_backward,
    batched=('grad_output', 'logits', 'query', 'key'),
    compiled_for=('cpu', 'cuda'),
)
