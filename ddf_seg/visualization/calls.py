"""A call of a DDF operator: its filters, what they amount to, and what they are measured by."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..layers.interpolation import axis_weights

Pair = tuple[int, int]
# By how much filters that interpolate may miss a sum of 1: as in half precision.
_SUM_TOLERANCE = 1e-2


@dataclass
class FilterCall:
    """One call of `ddf` or `ddf_upsample`, its tensors copied to the CPU.

    Attributes:
        layer: path of the module that made the call, with '#n' where it made several.
        operator: 'ddf' or 'ddf_upsample'.
        features: (B, C, H, W).
        channel_filter: (B, C, kh, kw), or for an upsampling call (B, r², C, kh, kw).
        spatial_filter: (B, G·kh·kw, H', W').
        kernel_size, dilation, stride: as the operator has them; an upsampling call has stride 1.
        scale_factor: r; 1 for `ddf`.
        kernel_combine: 'mul' or 'add'.
        gain: (C,), where the output is multiplied by it and added to the interpolation.
        mode, align_corners: of the interpolation that an upsampling layer starts from.
        source: size of what the features were interpolated from, where the layer continues that.
        guided: whether a finer map guides the upsampling.
        compares: whether the guide is compared with the features (affinity).
    """

    layer: str
    operator: str
    features: Tensor
    channel_filter: Tensor
    spatial_filter: Tensor
    kernel_size: Pair
    dilation: Pair
    stride: Pair
    scale_factor: int
    kernel_combine: str
    gain: Tensor | None = None
    mode: str = 'bilinear'
    align_corners: bool = False
    source: Pair | None = None
    guided: bool = False
    compares: bool = False
    _axes: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _parts: tuple[Tensor, int, Tensor, Tensor] | None = field(default=None, repr=False)

    @property
    def channels(self) -> int:
        return self.features.shape[1]

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    @property
    def groups(self) -> int:
        """Spatial filters per pixel."""
        return self.spatial_filter.shape[1] // self.taps

    @property
    def size(self) -> Pair:
        """(H', W'): the pixels that have filters of their own."""
        return self.spatial_filter.shape[2], self.spatial_filter.shape[3]

    @property
    def phases(self) -> int:
        """r² where each phase has channel filters of its own, otherwise 1."""
        return self.channel_filter.shape[1] if self.channel_filter.dim() == 5 else 1

    @property
    def channels_neutral(self) -> bool:
        """Whether the channel filters change nothing, as those of a layer without that branch."""
        return bool((self.channel_filter == (self.kernel_combine == 'mul')).all())

    def channel_filters(self, image: int = 0) -> Tensor:
        """The channel filters of one image, (phases, C, kh, kw), float32."""
        return self.channel_filter[image].float().view(-1, self.channels, *self.kernel_size)

    def spatial_filters(self, image: int = 0) -> Tensor:
        """The spatial filters of one image, (G, kh, kw, H', W'), float32."""
        return self.spatial_filter[image].float().unflatten(0, (self.groups, *self.kernel_size))

    def group(self, channel: int) -> int:
        """The group whose spatial filters a channel shares."""
        return channel // (self.channels // self.groups)

    def phase(self, y: int, x: int) -> int:
        """Which of the channel filters serves the output pixel (y, x)."""
        r = self.scale_factor
        return (y % r) * r + x % r if self.phases > 1 else 0

    @property
    def pixels_alike(self) -> bool:
        """Whether all pixels have one spatial filter, as those of a layer without that branch."""
        first = self.spatial_filter[..., :1, :1]
        return bool((self.spatial_filter == first).all())

    @property
    def interpolates(self) -> bool:
        """Whether the spatial filters take the place of interpolation: all of them sum to 1."""
        if self.gain is not None or self.kernel_combine != 'mul' or not self.channels_neutral:
            return False
        if self.interpolation_axes() is None:
            return False
        sums = self.spatial_filter.float().unflatten(1, (self.groups, self.taps)).sum(2)
        return bool(((sums - 1).abs() < _SUM_TOLERANCE).all())

    def interpolation_axes(self) -> tuple[Tensor, Tensor] | None:
        """The weights of interpolation along each axis, (kh, H') and (kw, W').

        None for a layer that does not upsample, or whose taps do not reach what interpolation
        takes from.
        """
        if self.operator != 'ddf_upsample' or self.dilation != (1, 1):
            return None
        if self._axes is None:
            low = (self.features.shape[2], self.features.shape[3])
            r, align = self.scale_factor, self.align_corners
            rows, columns = (
                axis_weights(source, n, high, r, k, self.mode, align)[0]
                for source, n, high, k in zip(
                    self.source or low, low, self.size, self.kernel_size, strict=True
                )
            )
            self._axes = rows, columns
        whole = all(bool(((axis.sum(0) - 1).abs() < 1e-3).all()) for axis in self._axes)
        return self._axes if whole else None

    def interpolation(self) -> Tensor | None:
        """The filters of interpolation, (kh, kw, H', W'); None: see `interpolation_axes`."""
        axes = self.interpolation_axes()
        return None if axes is None else axes[0][:, None, :, None] * axes[1][None, :, None, :]

    def shared_filters(self, image: int = 0) -> Tensor:
        """What all pixels of a phase have in common, (r², G, kh, kw).

        The mean of their spatial filters, less interpolation where these take its place: what they
        learned together.
        """
        return self._split(image)[0]

    def own_filters(self, image: int = 0) -> Tensor:
        """What a pixel has of its own, (G, kh, kw, H', W').

        Its spatial filters, less `shared_filters` of its phase and, where they take the place of
        interpolation, less that.
        """
        return self._split(image)[1]

    def _split(self, image: int) -> tuple[Tensor, Tensor]:
        # Pictures and pages ask for it many times.
        known = self._parts
        if known is None or known[0] is not self.spatial_filter or known[1] != image:
            self._parts = known = (self.spatial_filter, image, *self._parts_of(image))
        return known[2], known[3]

    def _parts_of(self, image: int) -> tuple[Tensor, Tensor]:
        own = self.spatial_filters(image).clone()
        if self.interpolates and (base := self.interpolation()) is not None:
            own -= base
        r = self.scale_factor
        shared = own.new_zeros(r * r, *own.shape[:3])
        for phase in range(r * r):
            part = own[..., phase // r :: r, phase % r :: r]
            if part.numel():
                shared[phase] = part.mean((3, 4))
                part -= shared[phase, ..., None, None]
        return shared, own

    def combined_filters(self, y: Tensor, x: Tensor, channel: int, image: int = 0) -> Tensor:
        """A channel's filter with the spatial ones of output pixels (N,), F ∘ S, (N, kh, kw)."""
        of_channel = self._of_channel(y, x, channel, image)
        start = self.group(channel) * self.taps
        of_pixels = self.spatial_filter[image, start : start + self.taps, y, x].float()
        of_pixels = of_pixels.mT.unflatten(1, self.kernel_size)
        multiplies = self.kernel_combine == 'mul'
        return of_channel * of_pixels if multiplies else of_channel + of_pixels

    def _of_channel(self, y: Tensor, x: Tensor, channel: int, image: int) -> Tensor:
        r = self.scale_factor
        phase = (y % r) * r + x % r if self.phases > 1 else torch.zeros_like(y)
        return self.channel_filters(image)[phase, channel]

    def _interpolation_at(self, y: Tensor, x: Tensor) -> Tensor | None:
        axes = self.interpolation_axes()
        return None if axes is None else axes[0].mT[y][:, :, None] * axes[1].mT[x][:, None, :]

    def effective_filters(self, y: Tensor, x: Tensor, channel: int, image: int = 0) -> Tensor:
        """What output pixels (N,) of a channel are filtered with in all, (N, kh, kw).

        F ∘ S; where the output is added to the interpolation, that and F ∘ S times the gain.
        """
        combined = self.combined_filters(y, x, channel, image)
        base = self._interpolation_at(y, x) if self.gain is not None else None
        if base is None:
            return combined
        assert self.gain is not None
        return base + self.gain[channel] * combined

    def effective_filter(self, y: int, x: int, channel: int, image: int = 0) -> Tensor:
        """As `effective_filters`, of one pixel, (kh, kw)."""
        return self.effective_filters(torch.tensor([y]), torch.tensor([x]), channel, image)[0]

    def reference_filters(self, y: Tensor, x: Tensor, channel: int, image: int = 0) -> Tensor:
        """What effective filters are seen against, (N, kh, kw), as `reference` names it."""
        if self.reference == 'interpolation':
            base = self._interpolation_at(y, x)
            assert base is not None
            return base
        of_channel = self._of_channel(y, x, channel, image)
        if self.reference == 'channel filter':
            return of_channel
        return of_channel * self.spatial_filters(image)[self.group(channel)].mean((2, 3))

    def reference_filter(self, y: int, x: int, channel: int, image: int = 0) -> Tensor:
        """As `reference_filters`, of one pixel, (kh, kw)."""
        return self.reference_filters(torch.tensor([y]), torch.tensor([x]), channel, image)[0]

    @property
    def reference(self) -> str:
        """'interpolation', 'channel filter' (for all pixels) or 'mean of all pixels'."""
        if self.interpolates or (self.gain is not None and self.interpolation_axes() is not None):
            return 'interpolation'
        return 'channel filter' if self.kernel_combine == 'add' else 'mean of all pixels'

    def centre(self, y: int, x: int) -> Pair:
        """The pixel of the features that the filter at the output pixel (y, x) is centred on."""
        if self.operator == 'ddf':
            return y * self.stride[0], x * self.stride[1]
        height, width = self.features.shape[2:]
        r = self.scale_factor
        return min(y // r, height - 1), min(x // r, width - 1)
