"""Argument checks of the operators, each in one place, for every implementation alike."""

from __future__ import annotations

import torch
from torch import Tensor

IntPair = int | tuple[int, int]

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
KERNEL_COMBINES = ('mul', 'add')


def _pair(name: str, value: IntPair) -> tuple[int, int]:
    """Expands an int to a pair and checks that both are positive integers.

    Raises:
        TypeError: if `value` is neither an int nor a pair of ints.
        ValueError: if one of the two is below 1.
    """
    if type(value) is int and value > 0:  # the common case
        return value, value
    values = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(values, (tuple, list))
        or len(values) != 2
        or not all(isinstance(v, int) for v in values)
    ):
        raise TypeError(f'{name}: expected an int or a pair of ints, got {value!r}')
    if min(values) < 1:
        raise ValueError(f'{name}: expected values of at least 1, got {value!r}')
    return values[0], values[1]


def _autocasts(device_type: str) -> bool:
    # torch knows devices without autocast (meta), and refuses to be asked about them.
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _check_tensors(features: Tensor, channel_filter: Tensor, spatial_filter: Tensor) -> None:
    """Dtypes, devices and the dimensions that need nothing but the tensors themselves."""
    named = (
        ('features', features),
        ('channel_filter', channel_filter),
        ('spatial_filter', spatial_filter),
    )
    for name, tensor in named:
        if not isinstance(tensor, Tensor):
            raise TypeError(f'{name}: expected a torch.Tensor, got {type(tensor).__name__}')
    dtype, device = features.dtype, features.device
    for name, tensor in named:
        if tensor.dtype not in DTYPES:
            raise TypeError(
                f'{name}: expected one of float64, float32, float16, bfloat16, got {tensor.dtype}'
            )
        if tensor.device != device:
            raise ValueError(
                f'{name}: expected a tensor on {device} (where features are), got {tensor.device}'
            )
        # Under autocast all three are cast to one dtype before the kernel sees them.
        if tensor.dtype != dtype and not _autocasts(device.type):
            raise TypeError(f'{name}: expected {dtype} (the dtype of features), got {tensor.dtype}')
    for name, tensor in (named[0], named[2]):
        if tensor.dim() != 4:
            raise ValueError(f'{name}: expected 4 dimensions, got shape {tuple(tensor.shape)}')
    if features.shape[2] < 1 or features.shape[3] < 1:
        raise ValueError(
            f'features: expected at least one row and one column, got shape {tuple(features.shape)}'
        )


def _check_kernel(kernel_size: IntPair, kernel_combine: str) -> tuple[int, int]:
    kernel = _pair('kernel_size', kernel_size)
    if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise ValueError(f'kernel_size: expected odd values, got {kernel_size!r}')
    if kernel_combine not in KERNEL_COMBINES:
        raise ValueError(f"kernel_combine: expected 'mul' or 'add', got {kernel_combine!r}")
    return kernel


def _check_groups(features: Tensor, spatial_filter: Tensor, taps: int) -> None:
    batch, channels = features.shape[:2]
    if spatial_filter.shape[0] != batch:
        raise ValueError(
            f'spatial_filter: expected batch size {batch} (that of features), '
            f'got shape {tuple(spatial_filter.shape)}'
        )
    width = spatial_filter.shape[1]
    if width == 0 or width % taps:
        raise ValueError(
            f'spatial_filter: expected a multiple of {taps} channels (kernel_size), '
            f'got shape {tuple(spatial_filter.shape)}'
        )
    groups = width // taps
    if channels % groups:
        raise ValueError(
            f'spatial_filter: expected a number of groups that divides the {channels} channels '
            f'of features, got {groups} groups from shape {tuple(spatial_filter.shape)}'
        )


def check_ddf(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: IntPair,
    dilation: IntPair,
    stride: IntPair,
    kernel_combine: str,
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Checks the arguments of `ddf`.

    Returns:
        kernel_size, dilation and stride as pairs.

    Raises:
        TypeError: wrong or mixed dtypes, or an argument that is no int or pair of ints.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    _check_tensors(features, channel_filter, spatial_filter)
    kernel = _check_kernel(kernel_size, kernel_combine)
    dilations, strides = _pair('dilation', dilation), _pair('stride', stride)
    batch, channels, height, width = features.shape
    expected = (batch, channels, *kernel)
    if tuple(channel_filter.shape) != expected:
        raise ValueError(
            f'channel_filter: expected shape {expected} (batch, channels, kernel_size), '
            f'got {tuple(channel_filter.shape)}'
        )
    _check_groups(features, spatial_filter, kernel[0] * kernel[1])
    size = (-(-height // strides[0]), -(-width // strides[1]))
    if tuple(spatial_filter.shape[2:]) != size:
        raise ValueError(
            f'spatial_filter: expected spatial size {size} (features {(height, width)} with '
            f'stride {strides}, rounded up), got {tuple(spatial_filter.shape[2:])}'
        )
    return kernel, dilations, strides


def check_ddf_upsample(
    features: Tensor,
    channel_filter: Tensor,
    spatial_filter: Tensor,
    kernel_size: IntPair,
    scale_factor: int,
    dilation: IntPair,
    kernel_combine: str,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Checks the arguments of `ddf_upsample`.

    Returns:
        kernel_size and dilation as pairs.

    Raises:
        TypeError: wrong or mixed dtypes, or an argument that is no int or pair of ints.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    _check_tensors(features, channel_filter, spatial_filter)
    kernel = _check_kernel(kernel_size, kernel_combine)
    dilations = _pair('dilation', dilation)
    if not isinstance(scale_factor, int):
        raise TypeError(f'scale_factor: expected an int, got {scale_factor!r}')
    if scale_factor < 1:
        raise ValueError(f'scale_factor: expected at least 1, got {scale_factor!r}')
    batch, channels, height, width = features.shape
    shared = (batch, channels, *kernel)
    phased = (batch, scale_factor**2, channels, *kernel)
    if tuple(channel_filter.shape) not in (shared, phased):
        raise ValueError(
            f'channel_filter: expected shape {phased} (batch, phases, channels, kernel_size) or '
            f'{shared} (shared by the phases), got {tuple(channel_filter.shape)}'
        )
    _check_groups(features, spatial_filter, kernel[0] * kernel[1])
    for axis, low, high in zip(
        ('height', 'width'), (height, width), spatial_filter.shape[2:], strict=True
    ):
        least, most = scale_factor * low - (scale_factor - 1), scale_factor * low + scale_factor - 1
        if not least <= high <= most:
            raise ValueError(
                f'spatial_filter: expected a {axis} from {least} to {most} (features {low} times '
                f'scale_factor {scale_factor}, less than one step off), got {high}'
            )
    return kernel, dilations
