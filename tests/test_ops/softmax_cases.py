"""Calls of `interpolation_softmax`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddf_seg.ops.interpolation_softmax import table_dtype

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    'contiguous': lambda x: x,
    'channels_last': lambda x: x.to(memory_format=torch.channels_last),
    'transposed': lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    'part of a map': lambda x: torch.cat([x, x], dim=1)[:, x.shape[1] :],
}


@dataclass(frozen=True)
class Shape:
    """One call; without `low`, one that compares nothing."""

    high: tuple[int, int]
    low: tuple[int, int] | None = None
    scale: int = 2
    kernel: int = 3
    groups: int = 1
    depth: int = 3
    maps: int = 1
    batch: int = 1

    def arguments(self, dtype: torch.dtype, layout: str = 'contiguous', seed: int = 0) -> Any:
        generator = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        taps, wide = self.groups * self.kernel**2, self.groups * self.depth
        fine = [random(self.batch, n, *self.high) for n in (taps, wide)]
        tensors = [*fine, random(self.batch, wide, *(self.low or (1, 1)))]
        logits, query, key = (LAYOUTS[layout](x.to(dtype)) for x in tensors)
        tables = []
        for size in self.high:
            table = random(2 + self.maps, self.kernel, size)
            # A tap outside
            table[0, 0, 0] = -1e4
            tables.append(table.to(table_dtype(logits)))
        compared = (query, key) if self.low else (None, None)
        return (logits, *compared, *tables, self.scale)


SHAPES = {
    'logits alone': Shape((3, 19), maps=2, groups=2),
    'compared': Shape((6, 10), (3, 5), kernel=5, batch=2),
    'groups and maps': Shape((4, 34), (2, 17), groups=2, maps=3),
    'a step more': Shape((7, 11), (3, 5)),
    'a step less': Shape((7, 11), (4, 6), kernel=5),
    'by 3': Shape((11, 20), (3, 6), scale=3, kernel=7, depth=1),
    'by 1': Shape((5, 9), (5, 9), scale=1),
    'several tiles': Shape((18, 261), (9, 130), depth=1),
    'a step wider than a tile': Shape((2, 431), (1, 2), scale=150, depth=1),
    'nothing': Shape((4, 6), (2, 3), batch=0),
}

# Large ones in one layout, for the loops' sake
IN_LAYOUTS = [
    (shape, layout)
    for shape, call in SHAPES.items()
    for layout in LAYOUTS
    if layout == 'contiguous' or call.high[1] < 40
]
