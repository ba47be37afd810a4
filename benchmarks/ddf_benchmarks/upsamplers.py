"""Other people's upsampling, to compare DDF-Up with: CARAFE, SAPA and DySample.

Each layer is called with a map and, where the finer level guides it or has another size, with that
level. `shared` upsamples several maps by what the layer makes of the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.ops import affinity, ddf_upsample


class Upsampler(nn.Module):
    """What all have in common: a sampler made of one map and its guide, applied to maps.

    Args:
        channels: channels of the maps.
        guide_channels: channels of the finer level; default: none is given.
        scale_factor: r.
    """

    def __init__(
        self, channels: int, guide_channels: int | None = None, scale_factor: int = 2
    ) -> None:
        super().__init__()
        self.scale_factor = scale_factor

    def prepare(self, x: Tensor, guide: Tensor | None) -> Any:
        """What does not depend on the map that is upsampled."""
        raise NotImplementedError

    def apply_to(self, x: Tensor, prepared: Any) -> Tensor:
        """(B, C, H, W) to (B, C, r·H, r·W)."""
        raise NotImplementedError

    def shared(self, maps: Sequence[Tensor], guide: Tensor) -> list[Tensor]:
        height, width = guide.shape[2:]
        prepared = self.prepare(maps[0], guide)
        return [self.apply_to(x, prepared)[:, :, :height, :width] for x in maps]

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C, r·H, r·W), or to the guide's size."""
        if guide is not None:
            return self.shared([x], guide)[0]
        return self.apply_to(x, self.prepare(x, None))


class _Reassembly(Upsampler):
    """A k×k filter for each fine pixel, shared by the channels: a softmax over its taps."""

    kernel_size = 5

    def apply_to(self, x: Tensor, prepared: Tensor) -> Tensor:
        return ddf_upsample(x, None, prepared, self.kernel_size, self.scale_factor)


class Carafe(_Reassembly):
    """CARAFE (Wang et al., ICCV 2019): filters from the coarse map by a 3×3 convolution."""

    def __init__(
        self,
        channels: int,
        guide_channels: int | None = None,
        scale_factor: int = 2,
        compressed: int = 64,
    ) -> None:
        super().__init__(channels, guide_channels, scale_factor)
        self.compress = nn.Conv2d(channels, compressed, 1)
        self.encode = nn.Conv2d(compressed, self.kernel_size**2 * scale_factor**2, 3, padding=1)
        nn.init.xavier_uniform_(self.compress.weight)
        nn.init.normal_(self.encode.weight, std=0.001)

    def prepare(self, x: Tensor, guide: Tensor | None) -> Tensor:
        return F.pixel_shuffle(self.encode(self.compress(x)), self.scale_factor).softmax(1)


class Sapa(_Reassembly):
    """SAPA (Lu et al., NeurIPS 2022): softmax of the affinity of finer level and coarse map.

    The base form (SAPA-B), which starts as an average of the window, nearly.
    """

    def __init__(
        self, channels: int, guide_channels: int, scale_factor: int = 2, embedded: int = 64
    ) -> None:
        super().__init__(channels, guide_channels, scale_factor)
        self.embed_guide, self.embed = (
            nn.Sequential(nn.LayerNorm(c), nn.Linear(c, embedded))
            for c in (guide_channels, channels)
        )
        for _, linear in (self.embed_guide, self.embed):
            nn.init.trunc_normal_(linear.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(linear.bias)  # type: ignore[arg-type]

    def prepare(self, x: Tensor, guide: Tensor | None) -> Tensor:
        assert guide is not None
        # Each pixel is normalised on its own.
        query, key = (
            embed(values.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            for embed, values in ((self.embed_guide, guide), (self.embed, x))
        )
        return affinity(query, key, self.kernel_size, self.scale_factor).softmax(1)

    def shared(self, maps: Sequence[Tensor], guide: Tensor) -> list[Tensor]:
        # The guide says the size.
        prepared = self.prepare(maps[0], guide)
        return [self.apply_to(x, prepared) for x in maps]


class DySample(Upsampler):
    """DySample (Liu et al., ICCV 2023), static scope, 'lp': bilinear sampling at learned places.

    `groups` of channels have places of their own.
    """

    def __init__(
        self,
        channels: int,
        guide_channels: int | None = None,
        scale_factor: int = 2,
        groups: int = 4,
    ) -> None:
        super().__init__(channels, guide_channels, scale_factor)
        self.groups = groups
        self.offset = nn.Conv2d(channels, 2 * groups * scale_factor**2, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def prepare(self, x: Tensor, guide: Tensor | None) -> Tensor:
        """Where to sample, in pixels of the map, (B · groups, r·H, r·W, 2), x first."""
        r = self.scale_factor
        offset = F.pixel_shuffle(0.25 * self.offset(x), r)
        height, width = offset.shape[2:]
        rows = (torch.arange(height, device=x.device) + 0.5) / r - 0.5
        columns = (torch.arange(width, device=x.device) + 0.5) / r - 0.5
        grid = torch.stack(
            [columns.expand(height, width), rows[:, None].expand(height, width)], dim=-1
        )
        return offset.unflatten(1, (self.groups, 2)).flatten(0, 1).permute(0, 2, 3, 1) + grid

    def apply_to(self, x: Tensor, prepared: Tensor) -> Tensor:
        # No tensor of the sizes: its copy to a GPU could not be part of a CUDA graph.
        sides = zip(prepared.unbind(-1), (x.shape[3], x.shape[2]), strict=True)
        grid = torch.stack([(2 * place + 1) / side - 1 for place, side in sides], dim=-1)
        by_group = x.unflatten(1, (self.groups, -1)).flatten(0, 1)
        out = F.grid_sample(by_group, grid, padding_mode='border', align_corners=False)
        return out.unflatten(0, (-1, self.groups)).flatten(1, 2)


UPSAMPLERS: dict[str, type[Upsampler]] = dict(carafe=Carafe, sapa=Sapa, dysample=DySample)
