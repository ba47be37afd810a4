"""FilterNorm's arithmetic as an operator: one pass where it is compiled, plain torch elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .checks import check_filters, check_gradient
from .definition import Arguments, call, define, empty_like_layout, operator

# Below this a variance is rounding noise, and the square root's derivative would be infinite.
_LEAST_VARIANCE = 1e-24


def filter_norm(
    filters: Tensor, taps: int, gain: float, eps: float, scale: Tensor | None = None
) -> Tensor:
    """(x − mean) / (std + eps · scale) · gain, over the taps of each filter.

    "Decoupled Dynamic Filter Networks" (arXiv 2104.14107), equation 5. The deviation is the
    unbiased one; sums are in float32, or float64 for float64; a constant filter becomes exactly 0.

    Args:
        filters: (B, n · taps, H, W), float64, float32, float16 or bfloat16.
        taps: values of a filter, at least 2.
        gain: deviation of the result.
        eps: added to the deviation, in units of scale.
        scale: one float32 number, without gradient or tangent; 1 if there is none.

    Returns:
        The normalised filters, in the shape, dtype and memory format of `filters`.

    Raises:
        RuntimeError, ValueError, TypeError: an argument does not fit; the message names it.
    """
    return call(operator('filter_norm'), filters, taps, gain, eps, scale)


def _statistics(
    filters: Tensor, taps: int, eps: float, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, n, taps, H, W) without the mean; variance, deviation, 1 / (deviation + eps · scale)."""
    wide = filters.to(torch.promote_types(filters.dtype, torch.float32)).unflatten(1, (-1, taps))
    # Sums over the taps run over whole maps at a time; torch.var_mean works pixel by pixel here
    # and takes much longer. Seen from its first tap, a constant filter is exactly 0.
    shifted = wide - wide[:, :, :1]
    centered = shifted - shifted.mean(dim=2, keepdim=True)
    variance = centered.square().sum(dim=2, keepdim=True) / (taps - 1)
    deviation = variance.clamp_min(_LEAST_VARIANCE).sqrt()
    added = eps if scale is None else eps * scale.to(wide.dtype)
    return centered, variance, deviation, (deviation + added).reciprocal()


def _in_layout_of(x: Tensor, like: Tensor) -> Tensor:
    out = empty_like_layout(like, tuple(like.shape), like)
    return out.copy_(x.flatten(1, 2))


def _plain_forward(
    filters: Tensor, taps: int, gain: float, eps: float, scale: Tensor | None
) -> Tensor:
    centered, _, _, inverse = _statistics(filters, taps, eps, scale)
    return _in_layout_of(centered * (inverse * gain), filters)


def _plain_backward(
    grad_output: Tensor, filters: Tensor, taps: int, gain: float, eps: float, scale: Tensor | None
) -> Tensor:
    centered, variance, deviation, inverse = _statistics(filters, taps, eps, scale)
    upstream = grad_output.to(centered.dtype).unflatten(1, (-1, taps)) * gain
    along = (upstream * centered).sum(dim=2, keepdim=True)
    of_deviation = along * inverse.square() / (deviation * (taps - 1))
    of_deviation = of_deviation.where(variance > _LEAST_VARIANCE, 0)
    gradient = (upstream - upstream.mean(dim=2, keepdim=True)) * inverse - centered * of_deviation
    return _in_layout_of(gradient, filters)


def _fake_forward(filters: Tensor, *_: Any) -> Tensor:
    return empty_like_layout(filters, tuple(filters.shape), filters)


def _fake_backward(grad_output: Tensor, filters: Tensor, *_: Any) -> Tensor:
    return empty_like_layout(filters, tuple(filters.shape), filters)


def _bend(
    along: Tensor,
    upstream: Tensor,
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None,
) -> Tensor:
    """The change of the gradient as the filters change by `along`; symmetric in the first two.

    The Jacobian is symmetric and maps g to γ (P g / D − c (c·g) / (m d D²)): P takes the mean away,
    c = P x, d is the deviation, D = d + eps · scale, m = taps − 1, γ the gain. This is the gradient
    of v·(Jacobian g) to x, for v = `along`, in torch's own functions.
    """
    c, variance, d, inverse = _statistics(filters, taps, eps, scale)
    varies, m = variance > _LEAST_VARIANCE, taps - 1

    def centered(x: Tensor) -> Tensor:
        split = x.to(c.dtype).unflatten(1, (-1, taps))
        return split - split.mean(dim=2, keepdim=True)

    def dot(x: Tensor, y: Tensor) -> Tensor:
        return (x * y).sum(dim=2, keepdim=True)

    v, g = centered(along), centered(upstream)
    a, b = dot(c, v), dot(c, g)
    per_deviation = inverse.square() / (m * d)
    of_c = a * b / (m * d).square() * inverse.square() * (1 / d + 2 * inverse)
    change = of_c * c - per_deviation * (dot(v, g) * c + b * v + a * g)
    return (change * gain).where(varies, 0).flatten(1, 2).to(filters.dtype)


class _Derivatives:
    """The Jacobian is symmetric: the tangent is what the gradient would be of a gradient."""

    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        _refuse_scale(needed[-1])
        return [call(operator('filter_norm_backward'), *upstream, *arguments), *[None] * 4]

    @staticmethod
    def tangents(arguments: Arguments, tangents: Sequence[Tensor | None]) -> Tensor:
        _refuse_scale(tangents[-1] is not None)
        return call(operator('filter_norm_backward'), tangents[0], *arguments)


class _BackwardDerivatives:
    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> list[Tensor | None]:
        _refuse_scale(needed[-1])
        (along,) = upstream
        assert along is not None
        above, *rest = arguments
        return [
            call(operator('filter_norm_backward'), along, *rest) if needed[0] else None,
            _bend(along, above, *rest) if needed[1] else None,
            *[None] * 4,
        ]

    @staticmethod
    def tangents(arguments: Arguments, tangents: Sequence[Tensor | None]) -> Tensor:
        _refuse_scale(tangents[-1] is not None)
        above, *rest = arguments
        of_above, of_filters = tangents[:2]
        if of_filters is None:
            return call(operator('filter_norm_backward'), of_above, *rest)
        change = _bend(of_filters, above, *rest)
        if of_above is None:
            return change
        return change + call(operator('filter_norm_backward'), of_above, *rest)


def _refuse_scale(has_derivative: bool) -> None:
    if has_derivative:
        raise NotImplementedError(
            'scale: expected a number without gradient or tangent (detach it)'
        )


def _check_backward(grad_output: Tensor, filters: Tensor, *arguments: Any) -> None:
    check_filters(filters, *arguments)
    check_gradient(grad_output, tuple(filters.shape), 'filters', filters)


_ARGUMENTS = 'Tensor filters, int taps, float gain, float eps, Tensor? scale'
define(
    'filter_norm',
    f'({_ARGUMENTS}) -> Tensor',
    plain=_plain_forward,
    fake=_fake_forward,
    derivatives=_Derivatives(),
    check=check_filters,
    batched=('filters',),
)
define(
    'filter_norm_backward',
    f'(Tensor grad_output, {_ARGUMENTS}) -> Tensor',
    plain=_plain_backward,
    fake=_fake_backward,
    derivatives=_BackwardDerivatives(),
    check=_check_backward,
    batched=('grad_output', 'filters'),
)
