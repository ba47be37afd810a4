"""What decoders are built of: modules that keep their initialisation, and a 1×1 convolution."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

# Makes a 1×1 convolution with what follows it, of channels before and after: `Projection`, or the
# host's own.
Project = Callable[[int, int], nn.Module]


class Block(nn.Module):
    """A module whose layers keep their own initialisation where a host initialises every one.

    mmengine calls `init_weights` after a model's `init_cfg`, others have to.
    """

    def init_weights(self) -> None:
        """Initialises all layers below that have an initialisation of their own."""
        for child in self.children():
            _initialise(child)


def _initialise(module: nn.Module) -> None:
    own = getattr(module, 'init_weights', None)
    if callable(own):
        own()
    else:
        for child in module.children():
            _initialise(child)


class BlockList(Block, nn.ModuleList):
    """A list of blocks."""


class BlockSequence(Block, nn.Sequential):
    """Blocks, one after the other."""


class Projection(nn.Module):
    """A 1×1 convolution, a normalisation and an activation, with the keys of mmcv's ConvModule.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        norm: makes a normalisation of that many channels; None: a bias in its place.
        activation: makes an activation; None: none.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        activation: Callable[[], nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 1, bias=norm is None)
        self.bn = nn.Identity() if norm is None else norm(channels)
        self.activate = nn.Identity() if activation is None else activation()
        self.init_weights()

    def init_weights(self) -> None:
        """As mmcv's ConvModule: He's initialisation by what comes out, a normalisation of 1."""
        nn.init.kaiming_normal_(self.conv.weight, mode='fan_out', nonlinearity='relu')
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        reset = getattr(self.bn, 'reset_parameters', None)
        if callable(reset):
            reset()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H, W)."""
        out: Tensor = self.activate(self.bn(self.conv(x)))
        return out
