"""A step of guided upsampling, in one layout from the logits to the sums.

All is done tile by tile, in rows: a fine pixel has a row of taps, and a pixel around the tile a row
of channels. Taps are those of the whole tile, of which a fine pixel's own filter is a part; the
others get no weight from the softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..layers.interpolation import OUTSIDE
from ..ops.interpolation_softmax import LOG_PRIOR, START, WEIGHTS
from ..ops.torch_internals import is_known
from .tiles import Tiles


def guided_upsample(
    of_guide: Tensor,
    query: Tensor | None,
    by_phase: Tensor | None,
    key: Tensor | None,
    rows: Tensor,
    columns: Tensor,
    maps: Sequence[Tensor],
    scale_factor: int,
    summed: bool,
) -> list[Tensor]:
    """`ddf_seg::guided_upsample`; arguments as for `ddf_seg.layers.guided_upsampling.composed`."""
    size, low, k = of_guide.shape[2:], maps[0].shape[2:], rows.shape[1]
    # Fine pixels beyond the last parent's own are further ones of that: their taps do not move on
    # with their place in a tile.
    whole = all(is_known(high <= scale_factor * n) for high, n in zip(size, low, strict=True))
    tiles, kernel = Tiles.over(size, scale_factor, 2 if whole else 1), (k, k)
    logits = tiles.by_parent(of_guide)
    if by_phase is not None:
        logits = logits + tiles.phases_by_parent(by_phase)
    logits = tiles.spread(logits, kernel)

    def windows(x: Tensor) -> Tensor:
        # Outside the map weights are 0, so it does not matter what is there.
        return tiles.windows(x, kernel, zeros=False)

    if query is not None and key is not None:
        logits = logits + tiles.gather(query) @ windows(key).transpose(2, 3)
    tables = _tables(tiles, rows, columns)
    softmax = (logits + tables[LOG_PRIOR]).softmax(dim=3)
    # Each map for itself: the windows of all at once would not fit into a cache.
    by_tile = [
        (softmax + (of_map - tables[START])).to(x.dtype) @ windows(x)
        for of_map, x in zip(tables[WEIGHTS:], maps, strict=True)
    ]
    if summed:
        by_tile = [sum(by_tile[1:], start=by_tile[0])]
    return [tiles.in_rows(x, size) for x in by_tile]


def _tables(tiles: Tiles, rows: Tensor, columns: Tensor) -> list[Tensor]:
    """Those of the rows and columns combined, (tiles, fine pixels, around) each."""
    down, across = tiles.along(rows, 0), tiles.along(columns, 1)
    _, _, step, around = down.shape
    tap = torch.arange(around) - (torch.arange(step) // tiles.r)[:, None]
    nothing = torch.where((tap >= 0) & (tap < rows.shape[1]), 0.0, OUTSIDE)
    combined = []
    for i in range(rows.shape[0]):
        # Slices: the optimizer folds no Split, and says so.
        y, x = down[i : i + 1], across[i : i + 1]
        if i == LOG_PRIOR and tiles.side > 1:
            y, x = y + nothing, x + nothing
        y = y.view(-1, 1, tiles.side, 1, tiles.r, 1, around, 1)
        x = x.view(1, -1, 1, tiles.side, 1, tiles.r, 1, around)
        both = y + x if i == LOG_PRIOR else y * x
        combined.append(both.reshape(-1, step**2, around**2))
    return combined
