"""How large a network sees things, compared with its training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config

from .config_walk import walk

# Beyond the sizes of the training by more than this factor, a network meets what it never saw.
_FAR = 1.5


@dataclass(frozen=True)
class TrainingSizes:
    """The sizes that a training resizes whole images to, before it crops.

    Attributes:
        scales: (long side, short side) each; a side that is not bounded is infinite.
        low: Smallest factor that they are multiplied by.
        high: Largest.
    """

    scales: tuple[tuple[float, float], ...]
    low: float = 1.0
    high: float = 1.0

    def factor(self, seen: tuple[int, int]) -> float:
        """By what an image must be multiplied to be as large as in training; 1 if it nearly is.

        Args:
            seen: Height and width with which it reaches the network.
        """
        fits = [min(longest / max(seen), shortest / min(seen)) for longest, shortest in self.scales]
        if max(fits) * self.high * _FAR < 1 or min(fits) * self.low > _FAR:
            # The middle one of several
            return sorted(fits)[len(fits) // 2]
        return 1.0

    def __str__(self) -> str:
        (longest, shortest), *others = self.scales
        text = f'{longest:g}×{shortest:g} pixels'
        if longest == float('inf'):
            text = f'{shortest:g} pixels on the short side'
        if others:
            text += f' (and {len(others)} more)'
        return f'{text}, times {self.low:g} to {self.high:g}' if self.low < self.high else text


def training_sizes(cfg: Config) -> TrainingSizes | None:
    """The sizes of a config's training images, where its pipeline resizes them to any."""
    found = [sizes for _, step in walk(cfg.get('train_dataloader')) for sizes in _sizes(step)]
    if not found:
        return None
    scales = tuple(scale for sizes in found for scale in sizes.scales)
    return TrainingSizes(scales, min(s.low for s in found), max(s.high for s in found))


def _sizes(step: dict[str, Any]) -> Iterator[TrainingSizes]:
    kind = str(step.get('type')).rpartition('.')[2]
    scale = step.get('scale')
    if kind == 'RandomResize' and scale:
        if isinstance(scale[0], (list, tuple)):
            yield TrainingSizes(tuple(_sides(each) for each in scale))
        else:
            low, high = step.get('ratio_range') or (1.0, 1.0)
            yield TrainingSizes((_sides(scale),), low, high)
    elif kind == 'Resize' and scale:
        yield TrainingSizes((_sides(scale),))
    elif kind == 'ResizeShortestEdge' and scale:
        yield TrainingSizes((_sides(scale, step.get('max_size')),))
    elif kind == 'RandomChoiceResize':
        most = step.get('max_size')
        yield TrainingSizes(tuple(_sides(each, most) for each in step['scales']))


def _sides(scale: Any, longest: float | None = None) -> tuple[float, float]:
    """A step's scale, which is a pair or the short side alone."""
    if isinstance(scale, (int, float)):
        return longest or float('inf'), float(scale)
    return float(max(scale)), float(min(scale))
