"""FilterNorm's arithmetic as an operator: one pass where it is compiled, plain torch elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .checks import check_filters, check_gradient
from .definition import Arguments, call, define, empty_like_layout, operator

# Below this a variance is rounding noise, and the square root's derivative would be infinite.
LEAST_VARIANCE = 1e-24


def filter_norm(
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None = None,
    std: Tensor | None = None,
    mean: Tensor | None = None,
) -> Tensor:
    """(x − mean of x) / (deviation of x + eps · scale) · gain · std + mean, for each filter's taps.

    "Decoupled Dynamic Filter Networks" (arXiv 2104.14107), equation 5. The deviation is the
    unbiased one; sums are in float32, or float64 for float64; a constant filter becomes exactly 0
    before `mean` is added.

    Args:
        filters: (B, n · taps, H, W), float64, float32, float16 or bfloat16.
        taps: values of a filter, at least 2.
        gain: deviation of the result, in units of std.
        eps: added to the deviation, in units of scale.
        scale: one float32 number, without gradient or tangent; 1 if there is none.
        std: (n · taps), float32, or float64 with such filters; 1 if there are none.
        mean: alike; 0 if there are none.

    Returns:
        The normalised filters, in the shape, dtype and memory format of `filters`.

    Raises:
        RuntimeError, ValueError, TypeError: an argument does not fit; the message names it.
    """
    arguments = (filters, taps, gain, eps, scale, std, mean)
    # Where no library is the faster one, Inductor makes one kernel of it and of what is around it.
    if torch.compiler.is_compiling() and not (torch.compiler.is_exporting() or filters.is_cpu):
        check_filters(*arguments)
        _refuse_scale(scale is not None and scale.requires_grad)
        return as_torch(*arguments).to(filters.dtype)
    return call(operator('filter_norm'), *arguments)


def sums_dtype(filters: Tensor) -> torch.dtype:
    """The dtype that `std` and `mean` have to have with these filters."""
    return torch.promote_types(filters.dtype, torch.float32)


def _statistics(
    filters: Tensor, taps: int, eps: float, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(B, n, taps, H, W) without the mean; variance, deviation, 1 / (deviation + eps · scale)."""
    wide = filters.to(sums_dtype(filters)).unflatten(1, (-1, taps))
    # Sums over the taps run over whole maps at a time; torch.var_mean works pixel by pixel here
    # and takes much longer. Seen from its first tap, a constant filter is exactly 0.
    shifted = wide - wide[:, :, :1]
    centered = shifted - shifted.mean(dim=2, keepdim=True)
    variance = centered.square().sum(dim=2, keepdim=True) / (taps - 1)
    deviation = variance.clamp_min(LEAST_VARIANCE).sqrt()
    added = eps if scale is None else eps * scale.to(wide.dtype)
    return centered, variance, deviation, (deviation + added).reciprocal()


def _per_tap(learned: Tensor) -> Tensor:
    return learned[:, None, None]


def as_torch(
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None,
    std: Tensor | None,
    mean: Tensor | None,
) -> Tensor:
    """`filter_norm` in torch's own functions, in the dtype of the sums and no layout of its own."""
    centered, _, _, inverse = _statistics(filters, taps, eps, scale)
    normalized = (centered * (inverse * gain)).flatten(1, 2)
    if std is not None:
        normalized = normalized * _per_tap(std)
    return normalized if mean is None else normalized + _per_tap(mean)


def _in_layout_of(x: Tensor, like: Tensor) -> Tensor:
    return empty_like_layout(like, tuple(like.shape), like).copy_(x)


def _plain_forward(filters: Tensor, *arguments: Any) -> Tensor:
    return _in_layout_of(as_torch(filters, *arguments), filters)


def _plain_backward(
    grad_output: Tensor,
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None,
    std: Tensor | None,
) -> Tensor:
    centered, variance, deviation, inverse = _statistics(filters, taps, eps, scale)
    above = grad_output.to(centered.dtype)
    if std is not None:
        above = above * _per_tap(std)
    upstream = above.unflatten(1, (-1, taps)) * gain
    along = (upstream * centered).sum(dim=2, keepdim=True)
    of_deviation = along * inverse.square() / (deviation * (taps - 1))
    of_deviation = of_deviation.where(variance > LEAST_VARIANCE, 0)
    gradient = (upstream - upstream.mean(dim=2, keepdim=True)) * inverse - centered * of_deviation
    return _in_layout_of(gradient.flatten(1, 2), filters)


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
    varies, m = variance > LEAST_VARIANCE, taps - 1

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


Tensors = Sequence[Tensor | None]


def _jacobian(along: Tensor, filters: Tensor, *arguments: Any) -> Tensor:
    """The Jacobian, which is symmetric, of what no `std` has multiplied, times a vector."""
    return call(operator('filter_norm_backward'), along, filters, *arguments, None)


def _times(x: Tensor, per_tap: Tensor | None) -> Tensor:
    """Products in the dtype of x."""
    return x if per_tap is None else (x * _per_tap(per_tap)).to(x.dtype)


def _over_pixels(x: Tensor, y: Tensor) -> Tensor:
    """The sum of the products, (n · taps), in the order that torch's own sums have."""
    wide = sums_dtype(x)
    return (x.to(wide) * y.to(wide)).sum(dim=(0, 2, 3))


class _Derivatives:
    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> list[Tensor | None]:
        _refuse_scale(needed[4])
        (above,) = upstream
        assert above is not None
        filters, *settings = arguments[:5]
        found: list[Tensor | None] = [None] * 7
        if needed[0]:
            found[0] = call(operator('filter_norm_backward'), above, *arguments[:6])
        if needed[5]:
            wide = filters.to(sums_dtype(filters))
            found[5] = _over_pixels(above, filter_norm(wide, *settings))
        if needed[6]:
            found[6] = above.sum(dim=(0, 2, 3), dtype=sums_dtype(above))
        return found

    @staticmethod
    def tangents(arguments: Arguments, tangents: Tensors) -> Tensor:
        _refuse_scale(tangents[4] is not None)
        filters, *settings = arguments[:5]
        of_filters, *_, of_std, of_mean = tangents
        change = torch.zeros_like(filters)
        if of_filters is not None:
            change = change + _times(_jacobian(of_filters, filters, *settings), arguments[5])
        if of_std is not None:
            change = change + _times(filter_norm(filters, *settings), of_std)
        if of_mean is not None:
            change = (change + _per_tap(of_mean)).to(filters.dtype)
        return change


class _BackwardDerivatives:
    """Of J (std · g), with the Jacobian J."""

    @staticmethod
    def gradients(
        arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> list[Tensor | None]:
        _refuse_scale(needed[5])
        (along,) = upstream
        assert along is not None
        above, filters, *settings, std = arguments
        found: list[Tensor | None] = [None] * 7
        if needed[0] or needed[6]:
            turned = _jacobian(along, filters, *settings)
            found[0] = _times(turned, std)
            found[6] = _over_pixels(above, turned) if needed[6] else None
        if needed[1]:
            found[1] = _bend(along, _times(above, std), filters, *settings)
        return found

    @staticmethod
    def tangents(arguments: Arguments, tangents: Tensors) -> Tensor:
        _refuse_scale(tangents[5] is not None)
        above, filters, *settings, std = arguments
        of_above, of_filters, *_, of_std = tangents
        change = torch.zeros_like(filters)
        if of_above is not None:
            change = change + _jacobian(_times(of_above, std), filters, *settings)
        if of_std is not None:
            change = change + _jacobian(_times(above, of_std), filters, *settings)
        if of_filters is not None:
            change = change + _bend(of_filters, _times(above, std), filters, *settings)
        return change


def _refuse_scale(has_derivative: bool) -> None:
    if has_derivative:
        raise NotImplementedError(
            'scale: expected a number without gradient or tangent (detach it)'
        )


def _check_backward(
    grad_output: Tensor,
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None,
    std: Tensor | None,
) -> None:
    check_filters(filters, taps, gain, eps, scale, std, None)
    check_gradient(grad_output, tuple(filters.shape), 'filters', filters)


_ARGUMENTS = 'Tensor filters, int taps, float gain, float eps, Tensor? scale, Tensor? std'
define(
    'filter_norm',
    f'({_ARGUMENTS}, Tensor? mean) -> Tensor',
    plain=_plain_forward,
    fake=_fake_forward,
    derivatives=_Derivatives(),
    check=check_filters,
    batched=('filters',),
    compiled_for=('cpu', 'cuda'),
)
define(
    'filter_norm_backward',
    f'(Tensor grad_output, {_ARGUMENTS}) -> Tensor',
    plain=_plain_backward,
    fake=_fake_backward,
    derivatives=_BackwardDerivatives(),
    check=_check_backward,
    batched=('grad_output', 'filters'),
    compiled_for=('cpu', 'cuda'),
)
