"""FilterNorm's arithmetic as an operator: one pass where it is compiled, plain torch elsewhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .native import warn_if_missing
from .registration import call, empty_like_layout

# Below this a variance is rounding noise, and the square root's derivative would be infinite.
_LEAST_VARIANCE = 1e-24

_ARGUMENTS = 'Tensor filters, int taps, float gain, float eps, Tensor? scale'
_library = torch.library.Library('ddf_seg', 'FRAGMENT')
for _name, _schema in (
    ('filter_norm', f'({_ARGUMENTS}) -> Tensor'),
    ('filter_norm_backward', f'(Tensor grad_output, {_ARGUMENTS}) -> Tensor'),
):
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))


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
        scale: one float32 number, without gradient; 1 if there is none.

    Returns:
        The normalised filters, in the shape, dtype and memory format of `filters`.

    Raises:
        RuntimeError: an argument does not fit; the message names it.
    """
    return call(torch.ops.ddf_seg.filter_norm.default, filters, taps, gain, eps, scale)


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
    warn_if_missing()
    centered, _, _, inverse = _statistics(filters, taps, eps, scale)
    return _in_layout_of(centered * (inverse * gain), filters)


def _plain_backward(
    grad_output: Tensor, filters: Tensor, taps: int, gain: float, eps: float, scale: Tensor | None
) -> Tensor:
    warn_if_missing()
    centered, variance, deviation, inverse = _statistics(filters, taps, eps, scale)
    upstream = grad_output.to(centered.dtype).unflatten(1, (-1, taps)) * gain
    along = (upstream * centered).sum(dim=2, keepdim=True)
    of_deviation = along * inverse.square() / (deviation * (taps - 1))
    of_deviation = of_deviation.where(variance > _LEAST_VARIANCE, 0)
    gradient = (upstream - upstream.mean(dim=2, keepdim=True)) * inverse - centered * of_deviation
    return _in_layout_of(gradient, filters)


_library.impl('filter_norm', _plain_forward, 'CompositeExplicitAutograd')
_library.impl('filter_norm_backward', _plain_backward, 'CompositeExplicitAutograd')


@torch.library.register_fake('ddf_seg::filter_norm', lib=_library)
def _fake_forward(filters: Tensor, *_: Any) -> Tensor:
    return empty_like_layout(filters, tuple(filters.shape), filters)


@torch.library.register_fake('ddf_seg::filter_norm_backward', lib=_library)
def _fake_backward(grad_output: Tensor, filters: Tensor, *_: Any) -> Tensor:
    return empty_like_layout(filters, tuple(filters.shape), filters)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    filters, taps, gain, eps, scale = inputs
    ctx.save_for_backward(filters, scale)
    ctx.arguments = taps, gain, eps


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    filters, scale = ctx.saved_tensors
    op = torch.ops.ddf_seg.filter_norm_backward.default
    gradient = call(op, grad_output, filters, *ctx.arguments, scale)
    return gradient, None, None, None, None


def _no_double_backward(ctx: Any, *_: Any) -> None:
    raise NotImplementedError('filter_norm: second derivatives are not implemented')


torch.library.register_autograd(
    'ddf_seg::filter_norm', _backward, setup_context=_setup_context, lib=_library
)
torch.library.register_autograd('ddf_seg::filter_norm_backward', _no_double_backward, lib=_library)
