"""Maps of a layer: numbers that describe the filters over the image, where they say something."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from . import statistics
from .calls import FilterCall

# Less contrast than this share of the middle says nothing.
_LEAST_CONTRAST = 0.05
# Neighbours as unlike as that are noise.
_LEAST_LIKENESS = 0.25


@dataclass
class FilterMap:
    """A number at every place of a layer.

    Attributes:
        name: what it is called.
        meaning: what it is for, in one sentence.
        values: (h, w) float32. An upsampling layer has a value for each r × r pixels.
        low, high: the middle 98 % of the values; directions: 0 and 180.
    """

    name: str
    meaning: str
    values: Tensor
    low: float
    high: float


def filter_maps(call: FilterCall) -> list[FilterMap]:
    """The maps of a layer that say something: contrast, and neighbours that are alike.

    Single pixels are noisy, and the phases of an upsampling differ by nature: values are means over
    its r × r pixels, elsewhere over 3 × 3.
    """
    if call.pixels_alike:
        return []
    own = call.own_filters()
    strength = statistics.norm(own).mean(0)
    found = [
        ('strength', 'How far the filters are from the mean of all pixels: what is special here.',
         strength)
    ]  # fmt: skip
    spread = statistics.entropy(own).mean(0)
    found.append(
        ('spread', 'How evenly the own part uses the taps: 0 is a single tap, 1 all alike.', spread)
    )
    anisotropy, direction = statistics.orientation(own)
    found.append(
        ('line-likeness', 'How much the own part looks like a line or an edge: 1 is a pure one.',
         anisotropy.mean(0))
    )  # fmt: skip
    maps = [
        made for name, meaning, values in found
        if (made := _map(name, meaning, _smooth(call, values))) is not None
    ]  # fmt: skip
    # Directions add up as vectors of the doubled angle.
    weight = (anisotropy * strength)[0]
    vectors = torch.stack([(2 * direction[0]).cos(), (2 * direction[0]).sin()]) * weight
    x, y = (_smooth(call, v) for v in vectors)
    agreement = torch.hypot(x, y) / _smooth(call, weight).clamp_min(1e-12)
    if float(agreement.median()) > 0.5:
        degrees = torch.remainder(torch.atan2(y, x) / 2, math.pi) * (180 / math.pi)
        maps.append(
            FilterMap(
                'direction', 'Along which line the own part changes least, in degrees: 0 is level, '
                '90 upright.', degrees, 0.0, 180.0,
            )
        )  # fmt: skip
    return maps


def _smooth(call: FilterCall, values: Tensor) -> Tensor:
    """Means over the pixels (H', W') of an upsampling's cells, or over neighbours."""
    whole = values[None, None]
    r = call.scale_factor
    if r > 1:
        padding = [-n % r for n in values.shape]
        whole = functional.pad(whole, (0, padding[1], 0, padding[0]), mode='replicate')
        return functional.avg_pool2d(whole, r)[0, 0]
    return functional.avg_pool2d(whole, 3, 1, 1, count_include_pad=False)[0, 0]


def _map(name: str, meaning: str, values: Tensor) -> FilterMap | None:
    """The map, if it has contrast and is more than noise."""
    if min(values.shape) < 3:
        return None
    sample = values.flatten()[:: max(1, values.numel() // 100_000)]
    low, middle, high = torch.quantile(sample, torch.tensor([0.01, 0.5, 0.99])).tolist()
    if high - low < _LEAST_CONTRAST * max(abs(middle), 1e-9):
        return None
    # Windows of 3 × 3 share no pixel with those three further on.
    step = min(3, values.shape[1] - 1)
    pair = torch.stack([values[:, :-step].flatten(), values[:, step:].flatten()])
    likeness = float(torch.corrcoef(pair)[0, 1])
    if not likeness > _LEAST_LIKENESS:
        return None
    return FilterMap(name, meaning, values, low, high)
