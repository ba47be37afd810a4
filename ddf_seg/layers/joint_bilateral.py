"""Joint bilateral upsampling with a learned range kernel, as FeatUp stacks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops import affinity, ddf
from ..ops.checks import check_int, check_kinds
from .checks import check_channels, check_map
from .local_attention import fold_border


class JointBilateralUpsample(nn.Module):
    r"""FeatUp's joint bilateral upsampling with a learned range kernel.

    .. math::
        O_c(p) = \sum_i (K_i(p) + 0.1 \cdot f_i(K(p), g(p))) \cdot S_c(p + i), \quad
        K_i(p) \propto softmax_i(e^t ⟨h(g(p)), h(g(p + i))⟩) \cdot e^{-|i|^2 / (2 (\sigma ρ)^2)}

    for the guidance g, two small networks h and f of 1×1 convolutions, the source S, interpolated
    bicubically to the guidance's size, and i in a square of radius ρ; both maps are reflected
    beyond their borders. From "FeatUp: A Model-Agnostic Framework for Features at Any Resolution"
    (arXiv 2403.10516). Parameters are named as in the published code's JBULearnedRange.

    Args:
        guidance_dim: channels of the guidance.
        key_dim: channels that h makes of it.
        radius: ρ; the kernel's side is 2ρ + 1.

    Raises:
        TypeError: an argument of another type.
        ValueError: one outside its range; the message names it.
    """

    def __init__(self, guidance_dim: int = 3, key_dim: int = 32, radius: int = 3) -> None:
        super().__init__()
        check_int('guidance_dim', guidance_dim)
        check_int('key_dim', key_dim)
        self.radius = check_int('radius', radius)
        taps = (2 * radius + 1) ** 2
        self.range_temp = nn.Parameter(torch.zeros(()))
        self.range_proj = _projection(guidance_dim, key_dim)
        self.fixup_proj = _projection(guidance_dim + taps, taps)
        self.sigma_spatial = nn.Parameter(torch.ones(()))

    def filters(self, guidance: Tensor) -> Tensor:
        """Guidance (B, guidance_dim, H', W') to the kernels of its pixels, (B, k², H', W')."""
        radius, k = self.radius, 2 * self.radius + 1
        # The temperature's and the sum's limits are the published code's.
        temperature = self.range_temp.exp().clamp(1e-4, 1e4)
        key = F.pad(self.range_proj(guidance), [radius] * 4, mode='reflect')
        inner = slice(radius, -radius)
        alike = affinity(key * temperature, key, k)[:, :, inner, inner]
        line = torch.linspace(-1, 1, k, dtype=guidance.dtype, device=guidance.device).square()
        distance = (line[:, None] + line).view(-1, 1, 1)
        kernel = alike.softmax(dim=1) * (distance / (-2 * self.sigma_spatial**2)).exp()
        kernel = kernel / kernel.sum(dim=1, keepdim=True).clamp(1e-7)
        return kernel + 0.1 * self.fixup_proj(torch.cat([kernel, guidance], dim=1))

    def forward(self, source: Tensor, guidance: Tensor) -> Tensor:
        """Source (B, C, H, W) and guidance (B, guidance_dim, H', W') to (B, C, H', W').

        H' and W' are above the radius; else any.

        Raises:
            TypeError: dtypes are unsupported or differ.
            ValueError: a shape or device does not fit; the message names it.
        """
        check_kinds((('source', source), ('guidance', guidance)))
        check_channels('guidance', guidance, cast(nn.Conv2d, self.range_proj[0]).in_channels)
        check_map('source', source, guidance, 'guidance')
        if min(guidance.shape[2:]) <= self.radius:
            raise ValueError(
                f'guidance: expected a height and width above the radius {self.radius}, '
                f'got {tuple(guidance.shape[2:])}'
            )
        k, size = 2 * self.radius + 1, guidance.shape[2:]
        filters = self.filters(guidance)
        fold_border(filters, k, size, 1, reflect=True)
        fine = _bicubic(source, size)
        return ddf(fine, None, filters, k)

    def extra_repr(self) -> str:
        return f'radius={self.radius}'


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1),
        nn.GELU(),
        nn.Dropout2d(0.1),
        nn.Conv2d(out_channels, out_channels, 1),
    )


def _bicubic(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bicubic interpolation to `size`, on the CPU as two products of matrices.

    torch's own takes two to five times as long there, at times longer than all the rest.
    """
    if not x.is_cpu:
        return F.interpolate(x, list(size), mode='bicubic', align_corners=False)
    rows, columns = (_bicubic_matrix(n, m, x) for n, m in zip(x.shape[2:], size, strict=True))
    return rows @ (x @ columns.mT)


def _bicubic_matrix(source: int, size: int, like: Tensor) -> Tensor:
    """(size, source): the interpolation of a line, read off what it makes of the identity."""
    identity = torch.eye(source, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None, None], (size, source), mode='bicubic')[0, 0]
