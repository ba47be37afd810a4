"""Tiles of a map whose filters are products of matrices.

ONNX Runtime does not fuse multiply-adds of slices: each is a pass over a map. It is quick where
rows of channels are gathered and multiplied. What the taps of a tile's pixels meet is one matrix,
(pixels around the tile, channels); the filters of its fine pixels are another. Fine pixels stand
parent after parent.
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

    @property
    def step(self) -> int:
        """Fine pixels of a tile, along an axis."""
        return self.side * self.r

    def windows(
        self, x: Tensor, kernel_size: Pair, dilation: Pair = (1, 1), zeros: bool = True
    ) -> Tensor:
        """What the taps of each tile meet in x (B, C, H, W): (B, tiles, around, C).

        Args:
            x: the features.
            kernel_size, dilation: of the taps.
            zeros: whether they meet zeros outside the map; else, what is nearest to the tap.
        """
        height, width = x.shape[2:]
        down, above = self._around(height, self.rows, kernel_size[0], dilation[0])
        across, beside = self._around(width, self.columns, kernel_size[1], dilation[1])
        around, pixels = down.shape[1] * across.shape[1], as_rows(x)
        if not zeros:
            down, across = down.clamp(0, height - 1), across.clamp(0, width - 1)
        index = down[:, None, :, None] * width + across[None, :, None, :]
        if zeros:
            # Outside is one more pixel, of zeros.
            inside = above[:, None, :, None] & beside[None, :, None, :]
            index = index.where(inside, height * width)
            pixels = F.pad(pixels, (0, 0, 0, 1))
        return pixels.index_select(1, index.flatten()).unflatten(1, (-1, around))

    def _around(self, size: int, tiles: int, k: int, dilation: int) -> tuple[Tensor, Tensor]:
        """Places along an axis that taps of each tile meet, (tiles, n), and which are inside."""
        first = torch.arange(tiles) * self.side
        if self.side == 1:
            # A parent too many is the last one.
            first = first - (first >= size).long()
        at = first[:, None] + (torch.arange(self.side + k - 1) - k // 2) * dilation
        return at, (at >= 0) & (at < size)

    def _fine(self, tiles: int, size: int) -> Tensor:
        """Places along an axis of each tile's fine pixels, (tiles, step), the last repeated."""
        at = torch.arange(tiles * self.step)
        if not is_known(tiles * self.step == size):
            at = at.clamp(max=size - 1)
        return at.unflatten(0, (-1, self.step))

    def _fine_in(self, fine: Tensor) -> tuple[Tensor, Tensor]:
        """What rows and columns add to the place of a fine pixel, (tiles, side, r) each."""
        height, width = fine.shape[2:]
        down, across = self._fine(self.rows, height) * width, self._fine(self.columns, width)
        of_parent = (self.side, self.r)
        return down.unflatten(1, of_parent), across.unflatten(1, of_parent)

    def gather(self, fine: Tensor) -> Tensor:
        """(B, n, H', W') to (B, tiles, fine pixels of a tile, n), parent after parent."""
        down, across = self._fine_in(fine)
        index = down[:, None, :, None, :, None] + across[None, :, None, :, None, :]
        return as_rows(fine).index_select(1, index.flatten()).unflatten(1, (-1, self.step**2))

    def by_parent(self, fine: Tensor) -> Tensor:
        """(B, n, H', W') to (B, side², tiles · r², n): those of each tile's first parent first."""
        down, across = (of_axis.transpose(0, 1) for of_axis in self._fine_in(fine))
        index = down[:, None, :, None, :, None] + across[None, :, None, :, None, :]
        return as_rows(fine).index_select(1, index.flatten()).unflatten(1, (self.side**2, -1))

    def phases_by_parent(self, by_phase: Tensor) -> Tensor:
        """(B, r²·n, H, W) to (B, side², tiles · r², n), in the order of `by_parent`."""
        height, width = by_phase.shape[2:]
        down, across = self._parents(self.rows, height) * width, self._parents(self.columns, width)
        index = down[:, None, :, None] + across[None, :, None, :]
        parents = as_rows(by_phase).index_select(1, index.flatten())
        phases = parents.unflatten(2, (self.r**2, -1)).flatten(1, 2)
        return phases.unflatten(1, (self.side**2, -1))

    def _parents(self, tiles: int, size: int) -> Tensor:
        """Places along an axis of the parents, (side, tiles), the last repeated."""
        parents = torch.arange(tiles * self.side)
        if not is_known(tiles * self.side <= size):
            parents = parents.clamp(max=size - 1)
        return parents.unflatten(0, (-1, self.side)).transpose(0, 1)

    def spread(self, by_parent: Tensor, kernel_size: Pair) -> Tensor:
        """Filters in the order of `by_parent`, for what is around a tile.

        Args:
            by_parent: (B, side², tiles · r², taps).
            kernel_size: of the taps.

        Returns:
            (B, tiles, fine pixels of a tile, around), 0 where the parent has no tap.
        """
        if self.side > 1:
            # By a product: runtimes pad and concatenate short rows slowly.
            by_parent = by_parent @ self._places_of_taps(kernel_size).to(by_parent)
        of_parents = by_parent.unflatten(2, (-1, self.r**2))
        return of_parents.transpose(1, 2).flatten(2, 3)

    def _places_of_taps(self, kernel_size: Pair) -> Tensor:
        """Which pixel around the tile is the tap of a parent: (side², taps, around), 0 or 1."""
        down, across = (
            torch.arange(self.side)[:, None, None] + torch.arange(k)[:, None]
            == torch.arange(self.side + k - 1)
            for k in kernel_size
        )
        both = down[:, None, :, None, :, None] & across[None, :, None, :, None, :]
        return both.flatten(4, 5).flatten(2, 3).flatten(0, 1)

    def along(self, values: Tensor, axis: int) -> Tensor:
        """What fine pixels' taps have along an axis, (n, k, H'), to (n, tiles, step, around).

        Args:
            values: of each tap and fine pixel.
            axis: 0: rows, 1: columns.

        Returns:
            0 where the parent has no tap.
        """
        at, more = self._fine((self.rows, self.columns)[axis], values.shape[2]), self.side - 1
        by_tile = values.index_select(2, at.flatten()).transpose(1, 2)
        by_tile = by_tile.unflatten(1, (-1, self.step))
        if not more:
            return by_tile
        r = self.r
        # Slices: the optimizer folds no Split, and says so.
        parts = ((i, by_tile[:, :, i * r : (i + 1) * r]) for i in range(self.side))
        return torch.cat([F.pad(x, (i, more - i)) for i, x in parts], dim=2)

    def in_rows(self, by_tile: Tensor, size: Sequence[int]) -> Tensor:
        """(B, tiles, fine pixels of a tile, n) to (B, n, *size)."""
        of_tile, of_parent = self.step**2, self.r**2
        y = self._places(
            self.rows, size[0], (self.columns * of_tile, self.side * of_parent, self.r)
        )
        x = self._places(self.columns, size[1], (of_tile, of_parent, 1))
        pixels = by_tile.flatten(1, 2).index_select(1, (y[:, None] + x).flatten())
        return pixels.unflatten(1, tuple(size)).permute(0, 3, 1, 2)

    def _places(self, tiles: int, size: int, steps: Sequence[int]) -> Tensor:
        """What each of `size` fine pixels along an axis adds to its place in the order of tiles.

        Args:
            tiles: along the axis.
            size: fine pixels.
            steps: from a tile to the next, from a parent and from a fine pixel.
        """
        # Without quotients, which ONNX has for positive numbers alone, and so in many nodes.
        counts = (tiles, self.side, self.r)
        tile, parent, pixel = (
            torch.arange(n) * step for n, step in zip(counts, steps, strict=True)
        )
        places = (tile[:, None, None] + parent[:, None] + pixel).flatten()
        return places if is_known(places.shape[0] == size) else places[:size]


def as_rows(x: Tensor) -> Tensor:
    """(B, n, H, W) to (B, H·W, n)."""
    # All four axes are turned at once: a runtime whose maps are channels last has nothing to do.
    return x.permute(0, 2, 3, 1).flatten(1, 2)
