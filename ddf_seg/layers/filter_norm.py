"""Normalisation of generated filters: FilterNorm and the alternatives of the paper's ablation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..ops.checks import check_int
from ..ops.filter_norm import filter_norm, sums_dtype
from .checks import check_channels, check_flag, gain_of

FILTER_TYPES = ('spatial', 'channel')
NORMALIZATIONS = ('filter_norm', 'batch_norm', 'sigmoid', 'softmax', 'none')
# The authors add 1e-10, which float16 cannot hold and which lets a constant filter explode.
EPS = 1e-5


def as_computed(view: Tensor) -> Tensor:
    """A map that is a view of another shape, in compiled code as the result of a computation.

    Inductor (torch 2.13) fails with "cannot determine truth value of Relational" on a view that it
    keeps for the backward pass, where a convolution follows and a size is a quotient, as it is
    after a pooling: nn.PixelShuffle meets the same. The computation costs nothing there.
    """
    return view.neg().neg() if torch.compiler.is_compiling() else view


class FilterNorm(nn.Module):
    """Normalises each generated filter over its taps to a mean of 0 and a given deviation.

    (x − mean) / (std + eps) · σ, with the statistics (in float32, unbiased) over the k² taps of
    one filter; "Decoupled Dynamic Filter Networks" (arXiv 2104.14107), section 3.3, equation 5.

    Args:
        in_channels: number of filters: groups for a spatial branch, channels for a channel branch.
        kernel_size: side k of the square filters, at least 2.
        filter_type: 'spatial' for filters of shape (B, in_channels·k², H, W), 'channel' for
            (B, in_channels·k²) or (B, in_channels·k², 1, 1).
        nonlinearity: what follows the filter; σ starts as its gain divided by k (Kaiming
            initialisation of a depthwise filter, equation 6).
        running_std: learn σ, one value per tap, instead of keeping it fixed.
        running_mean: learn an offset, one value per tap.
        start: filters to start from: σ starts at 0, the offset at this value. Needs both to be
            learned; default: they are drawn at random, as the authors do.

    Raises:
        TypeError: an argument of another type.
        ValueError: an unknown `filter_type` or `nonlinearity`, less than one filter, a kernel of
            one tap, whose deviation does not exist, or a `start` where σ or the offset is not
            learned.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int,
        filter_type: str,
        nonlinearity: str = 'linear',
        running_std: bool = False,
        running_mean: bool = False,
        start: float | None = None,
    ) -> None:
        super().__init__()
        if filter_type not in FILTER_TYPES:
            raise ValueError(f'filter_type: expected one of {FILTER_TYPES}, got {filter_type!r}')
        check_int('in_channels', in_channels)
        check_int('kernel_size', kernel_size, least=2)  # one tap has no deviation
        check_flag('running_std', running_std)
        check_flag('running_mean', running_mean)
        if start is not None and not (running_std and running_mean):
            raise ValueError(f'start: expected running_std and running_mean with it, got {start}')
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.filter_type = filter_type
        self.start = start
        self.running_std = running_std
        self.running_mean = running_mean
        self.gain = gain_of(nonlinearity) / kernel_size
        taps = in_channels * kernel_size**2
        self.std: Any = nn.Parameter(torch.empty(taps)) if running_std else self.gain
        if running_mean:
            self.mean = nn.Parameter(torch.empty(taps))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws σ and the offset anew, as the authors do, or sets them to `start`."""
        if self.start is not None:
            nn.init.zeros_(self.std)
            nn.init.constant_(self.mean, self.start)
            return
        if self.running_std:
            nn.init.normal_(self.std, std=self.gain)
        if self.running_mean:
            nn.init.normal_(self.mean)

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        """Normalises filters.

        Args:
            x: filters, see `filter_type`.
            scale: the deviation that the layer before gives to inputs of deviation 1, at most 1
                (a float32 number); eps counts in its units, so that weights which decay do not
                end in eps.

        Returns:
            The filters, in the shape and dtype of `x`.

        Raises:
            ValueError: if the channels of `x` are not in_channels · k².
        """
        return _normalize(
            x,
            scale,
            self.in_channels,
            self.kernel_size**2,
            self.gain,
            self.std if self.running_std else None,
            self.mean if self.running_mean else None,
        )

    def extra_repr(self) -> str:
        return f'{self.in_channels}, kernel_size={self.kernel_size}, {self.filter_type}'


def _normalize(
    x: Tensor,
    scale: Tensor | None,
    in_channels: int,
    taps: int,
    gain: float,
    std: Tensor | None,
    mean: Tensor | None,
) -> Tensor:
    check_channels('x', x, in_channels * taps, dimensions=(2, 4))
    maps = x if x.dim() == 4 else x[:, :, None, None]
    dtype = sums_dtype(x)
    normalized = filter_norm(
        maps,
        taps,
        gain if std is None else 1.0,
        EPS,
        scale,
        None if std is None else std.to(dtype),
        None if mean is None else mean.to(dtype),
    )
    return normalized if x.dim() == 4 else normalized[:, :, 0, 0]


# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
torch.fx.wrap('_normalize')


class _Activation(nn.Module):
    """Sigmoid, softmax over the taps (CARAFE's choice), or nothing, in place of FilterNorm."""

    def __init__(self, in_channels: int, kind: str) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == 'softmax':
            by_filter = x.unflatten(1, (self.in_channels, -1))
            return as_computed(by_filter.softmax(dim=2).flatten(1, 2))
        return x.sigmoid() if self.kind == 'sigmoid' else x

    def extra_repr(self) -> str:
        return self.kind


def build_normalization(
    kind: str,
    in_channels: int,
    kernel_size: int,
    filter_type: str,
    nonlinearity: str,
    start: float | None = None,
) -> nn.Module:
    """FilterNorm or one of its alternatives in the paper's ablation (table 8).

    Args:
        kind: 'filter_norm' (σ learned for channel filters, fixed for spatial ones), 'batch_norm',
            'sigmoid', 'softmax' (over the taps) or 'none'.
        in_channels, kernel_size, filter_type, nonlinearity, start: see `FilterNorm`.

    Raises:
        ValueError: an unknown `kind`, or a `start` of another kind than 'filter_norm'.
    """
    if kind not in NORMALIZATIONS:
        raise ValueError(f'normalization: expected one of {NORMALIZATIONS}, got {kind!r}')
    if start is not None and kind != 'filter_norm':
        raise ValueError(f"normalization: expected 'filter_norm' for a start, got {kind!r}")
    if kind == 'filter_norm':
        return FilterNorm(
            in_channels,
            kernel_size,
            filter_type,
            nonlinearity,
            running_std=filter_type == 'channel',
            running_mean=start is not None,
            start=start,
        )
    if kind == 'batch_norm':
        return nn.BatchNorm2d(in_channels * kernel_size**2)
    return _Activation(in_channels, kind)
