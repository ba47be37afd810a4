"""Maps made small for the page: quantised, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..calls import FilterCall

_BITS = (8, 7, 6, 5, 4)


def pack(array: np.ndarray) -> str:
    """The bytes of an array, deflated, in base64."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 6)).decode()


def pack_rows(values: np.ndarray) -> dict[str, Any]:
    """8-bit maps (…, H, W): values or, where that is smaller, differences to the left one."""
    plain = pack(values)
    unsigned = values.view(np.uint8)
    difference = unsigned.copy()
    difference[..., 1:] -= unsigned[..., :-1]
    rows = pack(difference)
    return {'data': min(plain, rows, key=len), 'difference': len(rows) < len(plain)}


@dataclass
class PackedFilters:
    """What the pixels of a call have of their own (`own_filters`), as the page holds it.

    Attributes:
        call: where they come from.
        thinning: every how-many-th row and column is kept.
        bits: of a value.
        packed: what `pack_rows` makes of them.
        scale: a value is its integer times this.
        error: the largest difference to the true value.
    """

    call: FilterCall
    thinning: int = 1
    bits: int = 8
    packed: dict[str, Any] = field(default_factory=dict)
    scale: float = 1.0
    error: float = 0.0

    def __post_init__(self) -> None:
        self.own = self.call.own_filters().flatten(0, 2).numpy()

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows and columns of the call's map that the page holds.

        Of each cell of thinning × thinning pixels one, whose place moves from cell to cell, so
        that all phases of an upsampling layer occur.
        """
        rows, columns = (
            np.minimum((i := np.arange(-(-n // self.thinning))) * self.thinning
                       + i % self.thinning, n - 1)
            for n in self.call.size
        )  # fmt: skip
        return rows, columns

    def encode(self, bits: int) -> int:
        """Packs them anew with so many bits, and returns the size in bytes."""
        rows, columns = self.kept()
        values = self.own[:, rows][:, :, columns]
        most = 2 ** (bits - 1) - 1
        self.bits = bits
        self.scale = float(np.abs(values).max(initial=0.0)) / most or 1.0
        integers = np.rint(values / self.scale)
        self.error = float(np.abs(values - integers * self.scale).max(initial=0.0))
        self.packed = pack_rows(integers.astype(np.int8))
        return len(self.packed['data'])


def pack_filters(calls: Sequence[FilterCall], budget: int) -> list[PackedFilters]:
    """Packs the spatial filters of calls into so many bytes together.

    With as many bits a value as fit, 8 to 4; where 4 are too many, the largest maps lose rows and
    columns.

    Args:
        calls: of one image each.
        budget: bytes, of base64.
    """
    packed = [PackedFilters(call) for call in calls]

    def kept_values(item: PackedFilters) -> int:
        return len(item.kept()[0]) * len(item.kept()[1]) * item.call.spatial_filter.shape[1]

    def thin() -> bool:
        largest = max(packed, key=kept_values)
        if kept_values(largest) <= largest.call.spatial_filter.shape[1]:
            return False
        largest.thinning += 1
        return True

    # Values of 4 bits take some 0.4 bytes deflated; encoding what is far too much takes long.
    while sum(map(kept_values, packed)) * 0.4 > budget and thin():
        pass
    while True:
        for bits in _BITS:
            if sum(item.encode(bits) for item in packed) <= budget:
                return packed
        if not thin():
            return packed


class Blobs:
    """Long packed arrays, which the page keeps in elements of their own, by number."""

    def __init__(self) -> None:
        self.items: list[str] = []

    def _put(self, text: str) -> int:
        self.items.append(text)
        return len(self.items) - 1

    def add(self, array: np.ndarray) -> int:
        """Keeps an array's bytes."""
        return self._put(pack(array))

    def add_rows(self, packed: dict[str, Any]) -> dict[str, Any]:
        """Keeps what `pack_rows` made."""
        return {'blob': self._put(packed['data']), 'difference': packed['difference']}

    def add_labels(self, values: np.ndarray) -> dict[str, Any]:
        """Keeps a map (H, W) of bytes."""
        return self.add_rows(pack_rows(values.astype(np.uint8)))

    @property
    def size(self) -> int:
        """Bytes so far."""
        return sum(map(len, self.items))
