"""The operators as nested loops over Python floats, written from their definition alone.

O[b,c,y,x] = sum over taps of (F[b,p,c,t] ∘ S[b,g(c),t,y,x]) · X[b,c,y',x'], with 0 outside X; the
gradients are the same sum, term by term. Slow and float64 whatever comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Pair = tuple[int, int]
Index = tuple[int, ...]
# Centre of the neighbourhood that output pixel (y, x) reads, and its phase.
Centre = Callable[[int, int], tuple[int, int, int]]


def pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _terms(
    features: Tensor,
    groups: int,
    size: Sequence[int],
    kernel: Pair,
    dilation: Pair,
    centre: Centre,
) -> Iterator[tuple[Index, Index, Index, Index]]:
    """Yields the indices into O, F (B, phases, C, kh, kw), S and X of every term inside X."""
    batch, channels, height, width = features.shape
    taps = kernel[0] * kernel[1]
    per_group = channels // groups
    for b, c, y, x in np.ndindex(batch, channels, *size):
        row, column, phase = centre(y, x)
        for iy, ix in np.ndindex(*kernel):
            yy = row + (iy - (kernel[0] - 1) // 2) * dilation[0]
            xx = column + (ix - (kernel[1] - 1) // 2) * dilation[1]
            if 0 <= yy < height and 0 <= xx < width:
                t = iy * kernel[1] + ix
                yield (
                    (b, c, y, x),
                    (b, phase, c, iy, ix),
                    (b, c // per_group * taps + t, y, x),
                    (
                        b,
                        c,
                        yy,
                        xx,
                    ),
                )


def _run(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    size: Sequence[int],
    kernel: Pair,
    dilation: Pair,
    kernel_combine: str,
    centre: Centre,
    grad_output: Tensor | None,
) -> tuple[Tensor, ...]:
    """The output, or (given grad_output) the gradients of the inputs that there are."""
    x = features.detach().double().numpy()
    f, s = (
        None if t is None else t.detach().double().numpy() for t in (channel_filter, spatial_filter)
    )
    if f is not None and f.ndim == 4:
        f = f[:, None]
    groups = 1 if s is None else s.shape[1] // (kernel[0] * kernel[1])
    if s is not None:
        size = s.shape[2:]
    output = np.zeros((*x.shape[:2], *size))
    grad_x, grad_f, grad_s = (None if a is None else np.zeros_like(a) for a in (x, f, s))
    upstream = output if grad_output is None else grad_output.detach().double().numpy()
    mul = kernel_combine == 'mul'
    for io, i_f, i_s, ix in _terms(features, groups, size, kernel, dilation, centre):
        of_channel, of_pixel = (a if a is None else a[i] for a, i in ((f, i_f), (s, i_s)))
        both = of_channel is not None and of_pixel is not None
        if not both:
            weight = of_pixel if of_channel is None else of_channel
        else:
            weight = of_channel * of_pixel if mul else of_channel + of_pixel
        if grad_output is None:
            output[io] += weight * x[ix]
            continue
        grad_x[ix] += upstream[io] * weight
        if f is not None:
            grad_f[i_f] += upstream[io] * x[ix] * (of_pixel if both and mul else 1)
        if s is not None:
            grad_s[i_s] += upstream[io] * x[ix] * (of_channel if both and mul else 1)
    if grad_output is None:
        return (torch.from_numpy(output),)
    if channel_filter is not None:
        grad_f = grad_f.reshape(channel_filter.shape)
    return tuple(torch.from_numpy(g) for g in (grad_x, grad_f, grad_s) if g is not None)


def ddf(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: int | Pair = 3,
    dilation: int | Pair = 1,
    stride: int | Pair = 1,
    kernel_combine: str = 'mul',
    grad_output: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """(O,) or, with grad_output, the gradients of X, F and S, of those there are."""
    step = pair(stride)

    def centre(y: int, x: int) -> tuple[int, int, int]:
        return y * step[0], x * step[1], 0

    return _run(
        features,
        channel_filter,
        spatial_filter,
        [-(-n // s) for n, s in zip(features.shape[2:], step, strict=True)],
        pair(kernel_size),
        pair(dilation),
        kernel_combine,
        centre,
        grad_output,
    )


def ddf_upsample(
    features: Tensor,
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
    kernel_size: int | Pair = 3,
    scale_factor: int = 2,
    dilation: int | Pair = 1,
    kernel_combine: str = 'mul',
    grad_output: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """(O,) or, with grad_output, the gradients of X, F and S, of those there are."""
    r, (height, width) = scale_factor, features.shape[2:]
    phased = channel_filter is not None and channel_filter.dim() == 5

    def centre(y: int, x: int) -> tuple[int, int, int]:
        phase = (y % r) * r + x % r if phased else 0
        return min(y // r, height - 1), min(x // r, width - 1), phase

    return _run(
        features,
        channel_filter,
        spatial_filter,
        (r * height, r * width),
        pair(kernel_size),
        pair(dilation),
        kernel_combine,
        centre,
        grad_output,
    )
