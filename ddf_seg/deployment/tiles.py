"""Tiles of a map whose filters are products of matrices.

ONNX Runtime does not fuse multiply-adds of slices: each is a pass over a map. It is quick where
rows of channels are gathered and multiplied. What the taps of a tile's pixels meet is one matrix,
(pixels around the tile, channels); the filters of its fine pixels are another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.torch_internals import is_known

Pair = Sequence[int]


@dataclass(frozen=True)
class Tiles:
    """Tiles of `side`² parents, pixels of the features, each of which has r² fine pixels.

    Attributes:
        rows, columns: how many there are.
        side: parents of a tile, along an axis.
        r: fine pixels of a parent, along an axis.
    """

    rows: int
    columns: int
    side: int
    r: int

    @classmethod
    def over(cls, size: Sequence[int], r: int, side: int) -> Tiles:
        """Those that cover a fine map."""
        step = side * r
        rows, columns = ((n + step - 1) // step for n in size)
        return cls(rows, columns, side, r)

    def windows(self, x: Tensor, kernel_size: Pair, dilation: Pair) -> Tensor:
        """What the taps of each tile meet in x (B, C, H, W): (B, tiles, around, C)."""
        height, width = x.shape[2:]
        (down, above), (across, beside) = (
            self._around(n, count, k, d)
            for n, count, k, d in zip(
                (height, width), (self.rows, self.columns), kernel_size, dilation, strict=True
            )
        )
        index = down[:, None, :, None] * width + across[None, :, None, :]
        inside = above[:, None, :, None] & beside[None, :, None, :]
        # Outside is one more pixel, of zeros.
        index = index.where(inside, height * width).flatten()
        pixels = F.pad(x.flatten(2).transpose(1, 2), (0, 0, 0, 1))
        around = down.shape[1] * across.shape[1]
        return pixels.index_select(1, index).unflatten(1, (-1, around))

    def _around(self, size: int, tiles: int, k: int, dilation: int) -> tuple[Tensor, Tensor]:
        """Places along an axis that taps of each tile meet, (tiles, n), and which are inside."""
        first = torch.arange(tiles) * self.side
        if self.side == 1:
            # A parent too many is the last one.
            first = first - (first >= size).long()
        at = first[:, None] + (torch.arange(self.side + k - 1) - k // 2) * dilation
        return at, (at >= 0) & (at < size)

    def gather(self, fine: Tensor) -> Tensor:
        """(B, n, H', W') to (B, tiles, fine pixels of a tile, n), those of a parent in turn."""
        step = self.side * self.r
        height, width = self.rows * step, self.columns * step
        below, right = height - fine.shape[2], width - fine.shape[3]
        if not (is_known(below == 0) and is_known(right == 0)):
            fine = F.pad(fine, (0, right, 0, below))
        first = torch.arange(self.rows)[:, None] * (step * width)
        first = first + torch.arange(self.columns) * step
        along = torch.arange(step)
        within = (along * width).view(self.side, 1, self.r, 1) + along.view(self.side, 1, self.r)
        index = first.flatten()[:, None] + within.flatten()
        pixels = fine.flatten(2).transpose(1, 2).index_select(1, index.flatten())
        return pixels.unflatten(1, (-1, step * step))

    def spread(self, filters: Tensor, kernel_size: Pair) -> Tensor:
        """(B, tiles, fine pixels, taps) to (…, around): 0 where the parent has no tap."""
        if self.side == 1:
            return filters
        more = self.side - 1
        by_tap = filters.unflatten(3, tuple(kernel_size)).split(self.r**2, dim=2)
        spread = [
            F.pad(
                part, (i % self.side, more - i % self.side, i // self.side, more - i // self.side)
            )
            for i, part in enumerate(by_tap)
        ]
        return torch.cat(spread, dim=2).flatten(3)

    def in_rows(self, by_tile: Tensor, size: Sequence[int]) -> Tensor:
        """(B, tiles, fine pixels of a tile, n) to (B, n, *size)."""
        r, of_tile = self.r, (self.side * self.r) ** 2
        y = self._places(self.rows, (self.columns * of_tile, self.side * r * r, r), size[0])
        x = self._places(self.columns, (of_tile, r * r, 1), size[1])
        pixels = by_tile.flatten(1, 2).index_select(1, (y[:, None] + x).flatten())
        return pixels.transpose(1, 2).unflatten(2, tuple(size))

    def _places(self, tiles: int, steps: Sequence[int], size: int) -> Tensor:
        """What each of `size` fine pixels along an axis adds to its place in the order of tiles.

        Args:
            tiles: along the axis.
            steps: from tile to tile, from parent to parent, and from pixel to pixel.
            size: fine pixels.
        """
        # Without quotients, which ONNX has for positive numbers alone, and so in many nodes.
        tile, parent, phase = (
            torch.arange(n) * step
            for n, step in zip((tiles, self.side, self.r), steps, strict=True)
        )
        places = (tile[:, None, None] + parent[:, None] + phase).flatten()
        return places if is_known(places.shape[0] == size) else places[:size]
