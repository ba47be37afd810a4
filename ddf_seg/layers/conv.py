"""DDF as a convolution layer that mmcv's builders can put anywhere (type 'DDF')."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ddf_pack import DDFPack, check_input


def _square(name: str, value: int | tuple[int, int]) -> int:
    """A DDF layer's filters are square: one int, or a pair of equal ones."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    if len(values) != 2 or values[0] != values[1]:
        raise ValueError(f'{name}: expected an int or a pair of equal ints, got {value!r}')
    return values[0]


def _is_pointwise(kernel_size: int | tuple[int, int]) -> bool:
    return kernel_size == 1 or tuple(
        [kernel_size] if isinstance(kernel_size, int) else kernel_size
    ) == (1, 1)


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
        ValueError: groups between 1 and in_channels, or another argument that DDF does not support.
    """

    # What mmcv's ConvModule reads of a convolution.
    transposed = False
    output_padding = (0, 0)

    def __new__(
        cls,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        **_: Any,
    ) -> Any:
        if _is_pointwise(kernel_size):
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
        margin = (padding, padding) if isinstance(padding, int) else tuple(padding)
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
        check_input(x, self.in_channels)
        size = [
            (n + 2 * p - self.dilation * (self.kernel_size - 1) - 1) // self.stride + 1
            for n, p in zip(x.shape[2:], self.padding, strict=True)
        ]
        if min(size) < 1:
            raise ValueError(
                f'x: {tuple(x.shape[2:])} pixels are too few for a kernel of {self.kernel_size} '
                f'with dilation {self.dilation} and padding {self.padding}'
            )
        (top, bottom, first_row), (left, right, first_column) = map(self._margins, self.padding)
        # The channel filters tell of the image, not of the zeros around it.
        channel_filter = self._channel_filter(x)
        if top or bottom or left or right:
            x = F.pad(x, (left, right, top, bottom))
        x = self._filter(x, channel_filter)
        x = x[:, :, first_row : first_row + size[0], first_column : first_column + size[1]]
        if self.pointwise is not None:
            x = self.pointwise(x)
        return x if self.bias is None else x + self.bias.view(1, -1, 1, 1)
