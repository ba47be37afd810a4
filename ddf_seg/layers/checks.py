"""What the layers check: their arguments when they are built, their inputs when they are called."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..ops.checks import check_int, check_kernel_combine

BRANCHES = ('both', 'spatial', 'channel')


def check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise TypeError(f'{name}: expected True or False, got {value!r}')


def check_odd(name: str, value: int, least: int) -> None:
    check_int(name, value, least)
    if value % 2 == 0:
        raise ValueError(f'{name}: expected an odd value, got {value}')


def gain_of(nonlinearity: str) -> float:
    """torch's gain of what follows a filter.

    Raises:
        ValueError: a nonlinearity that torch has no gain for.
    """
    try:
        return nn.init.calculate_gain(cast(Any, nonlinearity))
    except ValueError:
        raise ValueError(
            'nonlinearity: expected a name that torch.nn.init.calculate_gain knows '
            f"('linear', 'relu', 'leaky_relu', 'sigmoid', 'tanh', 'selu'), got {nonlinearity!r}"
        ) from None


def check_layer(
    in_channels: int,
    kernel_size: int,
    dilation: int,
    head: int,
    se_ratio: float,
    nonlinearity: str,
    kernel_combine: str,
    branches: str,
    neutral_start: bool,
) -> None:
    """Checks what `DDFPack` and `DDFUpPack` have in common.

    Raises:
        TypeError: an argument of another type.
        ValueError: one outside its range; the message names it.
    """
    check_int('in_channels', in_channels)
    check_odd('kernel_size', kernel_size, least=3)
    check_int('dilation', dilation)
    check_int('head', head)
    if in_channels % head:
        raise ValueError(f'head: expected a divisor of in_channels {in_channels}, got {head}')
    if isinstance(se_ratio, bool) or not isinstance(se_ratio, (int, float)):
        raise TypeError(f'se_ratio: expected a number, got {se_ratio!r}')
    if not 0 < se_ratio < float('inf'):
        raise ValueError(f'se_ratio: expected a value above 0, got {se_ratio}')
    gain_of(nonlinearity)
    check_kernel_combine(kernel_combine)
    if branches not in BRANCHES:
        raise ValueError(f'branches: expected one of {BRANCHES}, got {branches!r}')
    check_flag('neutral_start', neutral_start)
    if neutral_start and branches != 'both':
        raise ValueError(f"branches: expected 'both' for a neutral start, got {branches!r}")


def check_channels(name: str, x: Tensor, channels: int, dimensions: tuple[int, ...] = (4,)) -> None:
    """Checks the shape of a layer's input.

    Raises:
        ValueError: another number of dimensions or channels.
    """
    # While torch.jit.trace runs, sizes are tensors.
    wrong_size = not torch.jit.is_tracing() and x.dim() > 1 and x.shape[1] != channels
    if x.dim() not in dimensions or wrong_size:
        raise ValueError(
            f'{name}: expected shape (batch, {channels}, height, width), got {tuple(x.shape)}'
        )


def check_map(name: str, x: Tensor, other: Tensor | None = None, of: str = '') -> None:
    """Checks that `x` has four dimensions, values in each image, and the batch size of another.

    Raises:
        ValueError: if not; the message names the tensor.
    """
    if x.dim() != 4 or min(x.shape[1:]) < 1:
        raise ValueError(
            f'{name}: expected shape (batch, channels, height, width), none of the last three 0, '
            f'got {tuple(x.shape)}'
        )
    if other is not None and x.shape[0] != other.shape[0]:
        raise ValueError(
            f'{name}: expected batch size {other.shape[0]} (that of {of}), got {x.shape[0]}'
        )
