"""DDFPack: the operator with the branches that generate its filters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..ops import ddf
from ..ops.checks import check_int
from .branches import ChannelBranch, SpatialBranch
from .checks import check_channels, check_layer

# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
torch.fx.wrap('check_channels')


def neutral(kernel_combine: str) -> float:
    """What leaves the other branch's filters as they are."""
    return 1.0 if kernel_combine == 'mul' else 0.0


def reset_parts(module: nn.Module) -> None:
    """Draws the parameters of all parts anew."""
    # A module's own start, as of zeros, comes after that of its parts.
    for child in reversed(list(module.modules())):
        reset: Callable[[], None] | None = getattr(child, 'reset_parameters', None)
        if reset is not None and child is not module:
            reset()


class DDFPack(nn.Module):
    """A decoupled dynamic filter with its two branches, in place of a depthwise convolution.

    The authors' DDF layer ("Decoupled Dynamic Filter Networks", arXiv 2104.14107, figure 2) with
    their constructor arguments and state-dict keys. Unlike theirs, it rounds the output's size up
    where the stride does not divide the input's.

    Args:
        in_channels: channels of input and output.
        kernel_size: side of the filters, odd, at least 3.
        stride: step between output pixels.
        dilation: distance between taps.
        head: groups of channels with a spatial filter each.
        se_ratio: squeeze of the channel branch (σ of the paper's ablation).
        nonlinearity: the nonlinearity that follows, for FilterNorm's gain.
        kernel_combine: 'mul' or 'add'.
        normalization: 'filter_norm', or 'batch_norm', 'sigmoid', 'softmax', 'none' (ablation).
        branches: 'both', or 'spatial' or 'channel' alone (ablation).
        neutral_start: channel filters that change nothing at first (1 where they multiply, 0 where
            they are added) and learn an offset; default: drawn at random, as the authors do.

    Raises:
        TypeError: an argument of another type.
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        head: int = 1,
        se_ratio: float = 0.2,
        nonlinearity: str = 'relu',
        kernel_combine: str = 'mul',
        normalization: str = 'filter_norm',
        branches: str = 'both',
        neutral_start: bool = False,
    ) -> None:
        super().__init__()
        check_layer(
            in_channels,
            kernel_size,
            dilation,
            head,
            se_ratio,
            nonlinearity,
            kernel_combine,
            branches,
            neutral_start,
        )
        check_int('stride', stride)
        self.in_channels = in_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.dilation = dilation
        self.head = head
        self.kernel_combine = kernel_combine
        if branches != 'channel':
            self.spatial_branch = SpatialBranch(
                in_channels, kernel_size, head, stride, nonlinearity, normalization
            )
        if branches != 'spatial':
            self.channel_branch = ChannelBranch(
                in_channels,
                kernel_size,
                se_ratio,
                nonlinearity=nonlinearity,
                normalization=normalization,
                start=neutral(kernel_combine) if neutral_start else None,
            )
        self.branches = branches

    def init_weights(self) -> None:
        """Keeps the layer's own initialisation where a network initialises every convolution."""
        reset_parts(self)

    def forward(self, x: Tensor) -> Tensor:
        """Filters x.

        Args:
            x: (B, in_channels, H, W).

        Returns:
            (B, in_channels, ceil(H / stride), ceil(W / stride)).

        Raises:
            ValueError: x has another number of channels or dimensions.
        """
        check_channels('x', x, self.in_channels)
        return self._filter(x, self._channel_filter(x))

    def _channel_filter(self, x: Tensor) -> Tensor | None:
        if self.branches == 'spatial':
            return None
        k = self.kernel_size
        return self.channel_branch(x).view(x.shape[0], self.in_channels, k, k)

    def _filter(self, x: Tensor, channel_filter: Tensor | None) -> Tensor:
        spatial_filter = None if self.branches == 'channel' else self.spatial_branch(x)
        return ddf(
            x,
            channel_filter,
            spatial_filter,
            self.kernel_size,
            self.dilation,
            self.stride,
            self.kernel_combine,
        )
