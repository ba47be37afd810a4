"""What enlarges the depth maps: rows that are trained, and rows that are not."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddf_seg.models.depth_upsampler import DepthUpsampler, low_resolution
from ddf_seg.ops import affinity, ddf_upsample

# ddf_cfg of the network
TRAINED: dict[str, dict[str, Any]] = {
    # Its filters stay the interpolation that they start as: what the convolutions do alone
    'convolutions alone': {},
    'DDF-Up, FilterNorm': dict(normalization='filter_norm'),
    'DDF-Up': {},
}


class Interpolation(DepthUpsampler):
    """Interpolation, scored as the network is.

    Args:
        mode: of torch.nn.functional.interpolate.
        kwargs: as for `DepthUpsampler`.
    """

    def __init__(self, mode: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def upsample(self, image: Tensor, low: Tensor) -> Tensor:
        return F.interpolate(low, scale_factor=self.factor, mode=self.mode)


class JointBilateral(DepthUpsampler):
    r"""Joint bilateral upsampling (Kopf et al., SIGGRAPH 2007), 5×5 coarse pixels.

    .. math:: O(p) \propto \sum_i D(i) e^{-|p - i|^2 / 2σ_d^2} e^{-|I(p) - I(i)|^2 / 2σ_r^2}

    Args:
        spatial: σ_d, in coarse pixels.
        colour: σ_r, in what the data preprocessor makes of the colours.
        kwargs: as for `DepthUpsampler`.
    """

    kernel_size = 5

    def __init__(self, spatial: float, colour: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spatial = spatial
        self.colour = colour

    def upsample(self, image: Tensor, low: Tensor) -> Tensor:
        k, r = self.kernel_size, self.factor
        # -|a - b|² is 2ab - b² - a², of which the last is the same for all taps.
        coarse = low_resolution(image, r) / self.colour
        query, ones = torch.cat([image / self.colour, image[:, :1] * 0 + 1], dim=1), low * 0 + 1
        key = torch.cat([coarse, coarse.square().sum(1, keepdim=True) / -2], dim=1)
        logits = affinity(query, key, k, r)
        inside = affinity(query[:, -1:], ones, k, r) > 0
        squares = [self._distances(n, low).square() for n in image.shape[2:]]
        distance = squares[0][:, None, :, None] + squares[1][None, :, None, :]
        logits = logits - distance.flatten(0, 1) / (2 * self.spatial**2)
        weights = logits.masked_fill(~inside, float('-inf')).softmax(1)
        return ddf_upsample(low, None, weights, k, r)

    def _distances(self, size: int, like: Tensor) -> Tensor:
        """(kernel_size, size): from the taps to each fine pixel of a line, in coarse pixels."""
        r = self.factor
        fine = torch.arange(size, device=like.device)
        taps = torch.arange(self.kernel_size, device=like.device) - self.kernel_size // 2
        return taps[:, None] + fine // r - (fine - (r - 1) // 2) / r


FIXED = ('nearest', 'bilinear', 'bicubic', 'joint bilateral')
# What the joint bilateral filter may take: σ_d, and σ_r in deviations of the colours
SPATIAL, COLOUR = (0.25, 0.5, 1.0), (0.1, 0.2, 0.4, 0.8)
