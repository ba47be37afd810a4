"""How large a network sees things, compared with its training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..lookup.configs import kind_of, walk

# Beyond the sizes of the training by more than this factor, a network meets what it never saw.
_FAR = 1.5


@dataclass(frozen=True)
class TrainingSizes:
    """The sizes that a training resizes whole images to, before it crops.

    Attributes:
        scales: (long side, short side) each; a side that is not bounded is infinite.
        low: smallest factor that they are multiplied by.
        high: largest.
    """

    scales: tuple[tuple[float, float], ...]
    low: float = 1.0
    high: float = 1.0

    def factor(self, seen: tuple[int, int]) -> float:
        """By what an image must be multiplied to be as large as in training; 1 if it nearly is.

        Args:
            seen: height and width with which it reaches the network.
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


def warn_of_size(
    sizes: TrainingSizes | None,
    seen: tuple[int, int],
    file: Path,
    unusual: set[Path],
    remedy: Callable[[float], str],
) -> None:
    """Notes that a network sees things far larger or smaller than in training; the first warns.

    Args:
        sizes: of the images in training, if known.
        seen: height and width with which an image reaches the network.
        file: where it is from.
        unusual: gets the file.
        remedy: what to try, by the factor that the image is to be multiplied by; else empty.
    """
    factor = sizes.factor(seen) if sizes else 1.0
    if factor == 1 or file in unusual:
        return
    unusual.add(file)
    if len(unusual) == 1:
        advice = f': {text}' if (text := remedy(factor)) else ''
        sys.stderr.write(
            f'warning: {file} reaches the network with {seen[1]}×{seen[0]} pixels; in training the '
            f'images had {sizes}. What comes out may be worthless{advice}\n'
        )


def training_sizes(cfg: Config) -> TrainingSizes | None:
    """The sizes of a config's training images, where its pipeline resizes them to any."""
    found = [sizes for _, step in walk(cfg.get('train_dataloader')) for sizes in _sizes(step)]
    if not found:
        return None
    scales = tuple(scale for sizes in found for scale in sizes.scales)
    return TrainingSizes(scales, min(s.low for s in found), max(s.high for s in found))


def _sizes(step: dict[str, Any]) -> Iterator[TrainingSizes]:
    kind = kind_of(step)
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
