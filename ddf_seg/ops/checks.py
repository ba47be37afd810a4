"""Argument checks of the operators, each in one place, for every implementation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor

IntPair = int | tuple[int, int]

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
KERNEL_COMBINES = ('mul', 'add')
# Devices whose autocast the operators follow, and the dispatcher's key of each.
AUTOCAST_KEYS = {'cpu': 'AutocastCPU', 'cuda': 'AutocastCUDA'}
# As in ops/binding/checks.h, where it says why.
MOST, MOST_SCALE = 2**31 - 1, 2**15


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def check_int(name: str, value: int, least: int = 1, most: int = MOST) -> int:
    """Checks that `value` is an integer within limits, and returns it.

    Raises:
        TypeError: if `value` is no int (a bool is none).
        ValueError: if it lies outside.
    """
    if not _is_int(value):
        raise TypeError(f'{name}: expected an int, got {value!r}')
    if not least <= value <= most:
        limits = f'of at least {least}' if value < least else f'of at most {most}'
        raise ValueError(f'{name}: expected a value {limits}, got {value!r}')
    return value


def _pair(name: str, value: IntPair) -> tuple[int, int]:
    """Expands an int to a pair and checks that both are integers from 1 to `MOST`.

    Raises:
        TypeError: if `value` is neither an int nor a pair of ints (a bool is none).
        ValueError: if one of the two lies outside.
    """
    if type(value) is int and 0 < value <= MOST:  # the common case
        return value, value
    values = (value, value) if _is_int(value) else value
    if (
        not isinstance(values, (tuple, list))
        or len(values) != 2
        or not all(_is_int(v) for v in values)
    ):
        raise TypeError(f'{name}: expected an int or a pair of ints, got {value!r}')
    if min(values) < 1 or max(values) > MOST:
        raise ValueError(f'{name}: expected values from 1 to {MOST}, got {value!r}')
    return values[0], values[1]


def autocasts(device_type: str) -> bool:
    """Whether the operators now cast tensors of a device to autocast's dtype."""
    return device_type in AUTOCAST_KEYS and torch.is_autocast_enabled(device_type)


def check_kinds(named: Sequence[tuple[str, Tensor]], one_dtype: bool = True) -> None:
    """Checks that tensors are dense ones on the device, and with the dtype, of the first.

    Args:
        named: tensors with their names.
        one_dtype: also check the dtypes, which must be of `DTYPES`.

    Raises:
        TypeError: no tensor, or a wrong dtype.
        ValueError: another device or layout (sparse, MKL-DNN's).
    """
    first, tensor = named[0]
    if isinstance(tensor, Tensor) and tensor.dtype in DTYPES:  # the common case, in less time
        dtype, device = tensor.dtype, tensor.device
        for _, x in named:
            if not (
                isinstance(x, Tensor)
                and x.dtype == dtype
                and x.device == device
                and x.layout == torch.strided
            ):
                break
        else:
            return
    for name, tensor in named:
        if not isinstance(tensor, Tensor):
            raise TypeError(f'{name}: expected a torch.Tensor, got {type(tensor).__name__}')
    dtype, device = named[0][1].dtype, named[0][1].device
    for name, tensor in named:
        if tensor.layout is not torch.strided:
            raise ValueError(f'{name}: expected a dense tensor, got one of layout {tensor.layout}')
        if tensor.device != device:
            raise ValueError(
                f'{name}: expected a tensor on {device} (as {first} is), got {tensor.device}'
            )
        if not one_dtype:
            continue
        if tensor.dtype not in DTYPES:
            raise TypeError(
                f'{name}: expected one of float64, float32, float16, bfloat16, got {tensor.dtype}'
            )
        # Under autocast all are cast to one dtype before the kernel sees them.
        if tensor.dtype != dtype and not autocasts(device.type):
            raise TypeError(f'{name}: expected {dtype} (the dtype of {first}), got {tensor.dtype}')


def _check_tensors(
    features: Tensor, channel_filter: Tensor | None, spatial_filter: Tensor | None
) -> None:
    """Dtypes, devices and the dimensions that need nothing but the tensors themselves."""
    filters = (('channel_filter', channel_filter), ('spatial_filter', spatial_filter))
    check_kinds((('features', features), *((name, x) for name, x in filters if x is not None)))
    if channel_filter is None and spatial_filter is None:
        raise ValueError(
            'channel_filter: expected a tensor where spatial_filter is None, got NoneType'
        )
    for name, tensor in (('features', features), ('spatial_filter', spatial_filter)):
        if tensor is not None and tensor.dim() != 4:
            raise ValueError(f'{name}: expected 4 dimensions, got shape {tuple(tensor.shape)}')
    if features.shape[2] < 1 or features.shape[3] < 1:
        raise ValueError(
            f'features: expected at least one row and one column, got shape {tuple(features.shape)}'
        )


def check_kernel_combine(kernel_combine: str) -> None:
    """Checks that filters are combined by a known operation.

    Raises:
        ValueError: if not.
    """
    if kernel_combine not in KERNEL_COMBINES:
        raise ValueError(f"kernel_combine: expected 'mul' or 'add', got {kernel_combine!r}")


def _check_kernel(kernel_size: IntPair, kernel_combine: str, phases: int = 1) -> tuple[int, int]:
    kernel = _pair('kernel_size', kernel_size)
    if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise ValueError(f'kernel_size: expected odd values, got {kernel_size!r}')
    if kernel[0] * kernel[1] * phases > MOST:
        raise ValueError(
            f'kernel_size: expected at most {MOST} weights in {phases} phases, got {kernel_size!r}'
        )
    check_kernel_combine(kernel_combine)
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
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
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
    kernel = _check_kernel(kernel_size, kernel_combine)
    dilations, strides = _pair('dilation', dilation), _pair('stride', stride)
    if torch.jit.is_tracing():  # sizes are tensors, and the kernel checks them
        return kernel, dilations, strides
    _check_tensors(features, channel_filter, spatial_filter)
    batch, channels, height, width = features.shape
    expected = (batch, channels, *kernel)
    if channel_filter is not None and tuple(channel_filter.shape) != expected:
        raise ValueError(
            f'channel_filter: expected shape {expected} (batch, channels, kernel_size), '
            f'got {tuple(channel_filter.shape)}'
        )
    if spatial_filter is None:
        return kernel, dilations, strides
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
    channel_filter: Tensor | None,
    spatial_filter: Tensor | None,
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
    check_int('scale_factor', scale_factor, most=MOST_SCALE)
    kernel = _check_kernel(kernel_size, kernel_combine, scale_factor**2)
    dilations = _pair('dilation', dilation)
    if torch.jit.is_tracing():  # sizes are tensors, and the kernel checks them
        return kernel, dilations
    _check_tensors(features, channel_filter, spatial_filter)
    batch, channels = features.shape[:2]
    shared = (batch, channels, *kernel)
    phased = (batch, scale_factor**2, channels, *kernel)
    found = None if channel_filter is None else tuple(channel_filter.shape)
    # One by one: torch.compile does not find tuples of unknown sizes in a tuple.
    if found is not None and found != shared and found != phased:
        raise ValueError(
            f'channel_filter: expected shape {phased} (batch, phases, channels, kernel_size) or '
            f'{shared} (shared by the phases), got {found}'
        )
    if spatial_filter is None:
        return kernel, dilations
    _check_groups(features, spatial_filter, kernel[0] * kernel[1])
    check_upsampled('spatial_filter', spatial_filter, features, scale_factor)
    return kernel, dilations


def check_upsampled(name: str, fine: Tensor, features: Tensor, scale_factor: int) -> None:
    for axis, low, high in zip(
        ('height', 'width'), features.shape[2:], fine.shape[2:], strict=True
    ):
        least, most = scale_factor * low - (scale_factor - 1), scale_factor * low + scale_factor - 1
        if not least <= high <= most:
            raise ValueError(
                f'{name}: expected a {axis} from {least} to {most} (features {low} times '
                f'scale_factor {scale_factor}, less than one step off), got {high}'
            )


def check_affinity(
    query: Tensor, features: Tensor, kernel_size: IntPair, scale_factor: int, dilation: IntPair
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Checks the arguments of `affinity`.

    Returns:
        kernel_size and dilation as pairs.

    Raises:
        TypeError: wrong or mixed dtypes, or an argument that is no int or pair of ints.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    check_int('scale_factor', scale_factor, most=MOST_SCALE)
    kernel = _check_kernel(kernel_size, 'mul', scale_factor**2)
    dilations = _pair('dilation', dilation)
    if torch.jit.is_tracing():  # sizes are tensors, and the kernel checks them
        return kernel, dilations
    check_kinds((('query', query), ('features', features)))
    for name, tensor in (('query', query), ('features', features)):
        if tensor.dim() != 4 or min(tensor.shape[1:]) < 1:
            raise ValueError(
                f'{name}: expected 4 dimensions, at least one channel, row and column, got shape '
                f'{tuple(tensor.shape)}'
            )
    if query.shape[:2] != features.shape[:2]:
        raise ValueError(
            f'query: expected the batch and channels of features, {tuple(features.shape[:2])}, got '
            f'{tuple(query.shape[:2])}'
        )
    check_upsampled('query', query, features, scale_factor)
    return kernel, dilations


def check_gradient(
    grad_output: Tensor, shape: tuple[int, ...], of: str, output_like: Tensor
) -> None:
    """Checks a gradient from above: the output's shape, and the dtype of the tensor `of`.

    Raises:
        TypeError: another dtype.
        ValueError: another shape.
    """
    if grad_output.dtype != output_like.dtype:
        raise TypeError(
            f'grad_output: expected {output_like.dtype} (the dtype of {of}), '
            f'got {grad_output.dtype}'
        )
    if tuple(grad_output.shape) != tuple(shape):
        raise ValueError(
            f'grad_output: expected shape {tuple(shape)}, got {tuple(grad_output.shape)}'
        )


def check_filters(
    filters: Tensor,
    taps: int,
    gain: float,
    eps: float,
    scale: Tensor | None,
    std: Tensor | None,
    mean: Tensor | None,
) -> None:
    """Checks the arguments of `filter_norm`.

    Raises:
        TypeError: an unsupported dtype.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    check_kinds((('filters', filters),))
    if taps < 2:
        raise ValueError(f'taps: expected at least 2, got {taps}')
    if filters.dim() != 4 or filters.shape[1] % taps:
        raise ValueError(
            f'filters: expected shape (batch, filters * {taps}, height, width), '
            f'got {tuple(filters.shape)}'
        )
    if scale is not None and (scale.numel() != 1 or scale.dtype != torch.float32):
        raise ValueError(
            f'scale: expected one float32 number, got shape {tuple(scale.shape)} of {scale.dtype}'
        )
    dtype, count = torch.promote_types(filters.dtype, torch.float32), filters.shape[1]
    for name, learned in (('std', std), ('mean', mean)):
        if learned is not None and (learned.dtype != dtype or tuple(learned.shape) != (count,)):
            raise ValueError(
                f'{name}: expected {count} numbers of {dtype}, got shape {tuple(learned.shape)} '
                f'of {learned.dtype}'
            )
