"""DDF as a convolution layer that mmcv's builders can put anywhere (type 'DDF')."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.checks import check_int
from .branches import add_bias
from .checks import check_channels
from .ddf_pack import DDFPack


def _pair(name: str, value: int | tuple[int, int], least: int = 1) -> tuple[int, int]:
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise ValueError(f'{name}: expected an int or a pair of ints, got {value!r}')
    return check_int(name, values[0], least), check_int(name, values[1], least)


def _square(name: str, value: int | tuple[int, int]) -> int:
    """A DDF layer's filters are square: one int, or a pair of equal ones."""
    first, second = _pair(name, value)
    if first != second:
        raise ValueError(f'{name}: expected an int or a pair of equal ints, got {value!r}')
    return first


def _check_room(
    x: Tensor, size: list[int], kernel_size: int, dilation: int, padding: tuple[int, int]
) -> None:
    # While torch.jit.trace runs, sizes are tensors.
    if not torch.jit.is_tracing() and min(size) < 1:
        raise ValueError(
            f'x: expected at least {dilation * (kernel_size - 1) + 1} pixels a side with its '
            f'padding of {padding} (kernel_size {kernel_size}, dilation {dilation}), '
            f'got {tuple(x.shape[2:])} without'
        )


# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
for _name in ('check_channels', '_check_room'):
    torch.fx.wrap(_name)


class DDFConv2d(DDFPack):
    """DDF in place of nn.Conv2d.

    - in_channels = out_channels: a `DDFPack`, with its state-dict keys. It filters each channel by
      itself. Unlike a dense convolution, it does not mix channels.
    - in_channels ≠ out_channels, or `pointwise`: DDF, then a 1×1 convolution.
    - groups = in_channels (in place of a depthwise convolution): DDF without the 1×1.
    - kernel size 1: a plain nn.Conv2d, because there is nothing to filter.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias: as for
            nn.Conv2d; kernel_size, stride and dilation square; groups 1 or in_channels; the bias is
            added to the output. DDF pads to the same size; more `padding` adds zeros around the
            input, less crops the output.
        pointwise: add the 1×1 convolution even if in_channels = out_channels.
        ddf: further arguments of `DDFPack` (head, se_ratio, nonlinearity, kernel_combine, …).

    Raises:
        TypeError: an argument of another type.
        ValueError: groups between 1 and in_channels, or another argument that DDF does not support.
    """

    # What mmcv's ConvModule reads of a convolution.
    transposed = False
    output_padding = (0, 0)

    def __new__(
        cls,
        in_channels: int = 0,
        out_channels: int = 0,
        # Without one: copy and pickle make an object first, and fill it then.
        kernel_size: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        **_: Any,
    ) -> Any:
        if kernel_size is not None and _pair('kernel_size', kernel_size) == (1, 1):
            return nn.Conv2d(in_channels, out_channels, 1, stride, padding, dilation, groups, bias)
        return super().__new__(cls)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        pointwise: bool = False,
        **ddf: Any,
    ) -> None:
        for name, channels in (('in_channels', in_channels), ('out_channels', out_channels)):
            check_int(name, channels)
        check_int('groups', groups)
        if groups not in (1, in_channels):
            raise ValueError(
                f'groups: expected 1 or in_channels ({in_channels}), got {groups}; DDF has no '
                'form in between (its own groups of spatial filters are the argument head)'
            )
        depthwise = groups == in_channels and groups > 1
        if depthwise and out_channels != in_channels:
            raise ValueError(
                f'out_channels: expected {in_channels} (groups = in_channels), got {out_channels}'
            )
        side = _square('kernel_size', kernel_size)
        step, reach = _square('stride', stride), _square('dilation', dilation)
        margin = _pair('padding', padding, least=0)
        super().__init__(in_channels, side, step, reach, **ddf)
        self.out_channels = out_channels
        self.groups = groups
        self.padding = margin
        self.pointwise = (
            nn.Conv2d(in_channels, out_channels, 1, bias=False)
            if (in_channels != out_channels or pointwise) and not depthwise
            else None
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def init_weights(self) -> None:
        """Keeps the layer's own initialisation where a network initialises every convolution."""
        super().init_weights()
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def _margins(self, padding: int) -> tuple[int, int, int]:
        """Zeros before and after the input, and the first output to keep, along one axis.

        DDF centres its first output on the first pixel. With more padding than 'same', zeros go
        around the input; with less, the outputs before the first wanted one are dropped, after
        zeros have moved that one onto the stride.
        """
        excess = padding - self.kernel_size // 2 * self.dilation
        if excess >= 0:
            return excess, excess, 0
        before = excess % self.stride
        return before, 0, (before - excess) // self.stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W'), sized as nn.Conv2d's output.

        Raises:
            ValueError: x has another number of channels or is too small for the padding.
        """
        check_channels('x', x, self.in_channels)
        size = [
            (x.shape[2 + i] + 2 * p - self.dilation * (self.kernel_size - 1) - 1) // self.stride + 1
            for i, p in enumerate(self.padding)
        ]
        _check_room(x, size, self.kernel_size, self.dilation, self.padding)
        (top, bottom, first_row), (left, right, first_column) = map(self._margins, self.padding)
        # The channel filters tell of the image, not of the zeros around it.
        channel_filter = self._channel_filter(x)
        if top or bottom or left or right:
            x = F.pad(x, (left, right, top, bottom))
        x = self._filter(x, channel_filter)
        if any(p != self.kernel_size // 2 * self.dilation for p in self.padding):
            x = x[:, :, first_row : first_row + size[0], first_column : first_column + size[1]]
        if self.pointwise is not None:
            x = self.pointwise(x)
        return x if self.bias is None else add_bias(x, self.bias)
