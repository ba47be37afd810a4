"""Upsampling filters that start as interpolation: a softmax around its own weights."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

MODES = ('bilinear', 'nearest')
# What each axis' weights are raised by before their logarithm is taken: where interpolation has a
# weight of 0, a filter can still grow one.
_FLOOR = 0.05
# The logarithm of nothing, for taps outside the map. float16 holds it, and its exponential is 0.
_OUTSIDE = -1e4


def axis_weights(
    low: int, high: int, scale_factor: int, kernel_size: int, mode: str, align_corners: bool
) -> tuple[Tensor, Tensor]:
    """Interpolation from `low` to `high` samples as filters around each sample's parent.

    The parent of fine sample y is min(y // r, low − 1), as for `ddf_upsample`; its taps lie at
    parent − (k − 1) / 2 and on. All samples agree with torch.nn.functional.interpolate, which
    clamps at the ends.

    Returns:
        The weights, (kernel_size, high), float32, and where taps lie inside, of the same shape.
    """
    fine = torch.arange(high, dtype=torch.float64)
    parent = (fine / scale_factor).floor().clamp(max=low - 1)
    if mode == 'nearest':
        position = (fine * low / high).floor()
    elif align_corners:
        position = fine * ((low - 1) / max(high - 1, 1))
    else:
        position = ((fine + 0.5) * low / high - 0.5).clamp(min=0)
    before = position.floor().clamp(max=low - 1)
    part = position - before
    after = (before + 1).clamp(max=low - 1)
    taps = parent + torch.arange(kernel_size)[:, None] - kernel_size // 2
    weights = (taps == before) * (1 - part) + (taps == after) * part
    return weights.float(), (taps >= 0) & (taps < low)


def _tables(low: int, high: int, *arguments: object) -> tuple[Tensor, Tensor, Tensor]:
    """Of an axis: interpolation's weights, their raised logarithms, and the softmax of these."""
    weights, inside = axis_weights(low, high, *arguments)  # type: ignore[arg-type]
    logits = torch.where(inside, (weights + _FLOOR).log(), _OUTSIDE)
    return weights, logits, logits.softmax(dim=0)


_cached_tables = functools.lru_cache(maxsize=256)(_tables)


class InterpolationSoftmax(nn.Module):
    r"""Upsampling filters whose logits, while they are 0, give interpolation exactly.

    .. math::
        K_i(p) = b_i(p) + softmax_i(\log b'(p) + l(p)) - softmax_i(\log b'(p))

    with b the weights that interpolation gives to the k² taps around fine pixel p, b' these
    weights, raised by a little along each axis, and l the logits. Every filter sums to 1, whatever
    its logits, so a constant map stays as it is; large logits reach any single tap. Taps outside
    the map have no weight: at its border filters do as interpolation, which clamps.

    Args:
        groups: filters a pixel.
        kernel_size: side k of the filters, odd; at least 3, and 5 for a scale factor above 2, where
            interpolation of maps whose sizes are no multiples reaches two pixels far.
        scale_factor: r of the upsampling.
        mode: 'bilinear' or 'nearest', the interpolation to start from.
        align_corners: as for torch.nn.functional.interpolate.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        groups: int,
        kernel_size: int,
        scale_factor: int,
        mode: str = 'bilinear',
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        least = 3 if scale_factor <= 2 else 5
        if kernel_size < least or kernel_size % 2 == 0:
            raise ValueError(
                f'kernel_size: expected an odd value of at least {least} for filters that start '
                f'as interpolation by {scale_factor}, got {kernel_size}'
            )
        if mode not in MODES:
            raise ValueError(f'mode: expected one of {MODES}, got {mode!r}')
        self.groups = groups
        self.kernel_size = kernel_size
        self.scale_factor = scale_factor
        self.mode = mode
        self.align_corners = align_corners

    def forward(self, logits: Tensor, low: tuple[int, int]) -> Tensor:
        """Logits (B, groups·k², H', W') for maps of size `low` to filters of the same shape."""
        high = (logits.shape[2], logits.shape[3])
        tables = _tables if torch.compiler.is_compiling() else _cached_tables
        rows, columns = (
            tables(n, m, self.scale_factor, self.kernel_size, self.mode, self.align_corners)
            for n, m in zip(low, high, strict=True)
        )
        weights, start, first = (
            (by_row[:, None, :, None], by_column[None, :, None, :])
            for by_row, by_column in zip(rows, columns, strict=True)
        )
        to = dict(device=logits.device, dtype=logits.dtype)
        prior = (start[0] + start[1]).flatten(0, 1).to(**to)
        rest = (weights[0] * weights[1] - first[0] * first[1]).flatten(0, 1).to(**to)
        by_group = logits.unflatten(1, (self.groups, -1))
        return ((by_group + prior).softmax(dim=2) + rest).flatten(1, 2)

    def extra_repr(self) -> str:
        return (
            f'{self.groups}, kernel_size={self.kernel_size}, scale_factor={self.scale_factor}, '
            f'mode={self.mode!r}, align_corners={self.align_corners}'
        )
