"""What a layer costs: by formulas, and measured on modules that run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmengine.analysis import get_model_complexity_info
from prettytable import PrettyTable
from torch import Tensor, nn

from ..engine import flops  # noqa: F401 (has mmengine count the operators)
from ..layers import DDFPack
from ..ops import affinity, ddf
from ..visualization import capture_filters

CHANNELS, KERNEL_SIZE, SQUEEZE = 256, 3, 0.2


@dataclass
class Cost:
    """Of a layer.

    Attributes:
        parameters: how many.
        multiply_adds: of one forward pass on one image.
        filters: values of the filters that it generates for it.
    """

    parameters: int
    multiply_adds: int
    filters: int


class DynamicFilter(nn.Module):
    """A full dynamic filter: a 1×1 convolution makes every channel of every pixel its k² taps."""

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.generate = nn.Conv2d(channels, channels * kernel_size**2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        # The operator's spatial filters, with a group for each channel
        return ddf(x, None, self.generate(x), self.kernel_size)


class PixelAdaptive(nn.Module):
    """Pixel-adaptive convolution (Su et al., CVPR 2019), adapted to its own input.

    A convolution whose k² taps are weighted by how alike a pixel and its neighbour are:
    exp(−‖x_p − x_q‖² / 2).
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.mix = nn.Conv2d(channels * kernel_size**2, channels, 1)

    def _neighbours(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, k², H, W), 0 outside of the image."""
        size = (*x.shape[:2], self.kernel_size**2, *x.shape[2:])
        return F.unfold(x, self.kernel_size, padding=self.kernel_size // 2).view(size)

    def alike(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the taps' weights, (B, k², H, W)."""
        squares = (x * x).sum(1, keepdim=True)
        distances = squares + self._neighbours(squares)[:, 0]
        return torch.exp(affinity(x, x, self.kernel_size) - distances / 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same."""
        return self.mix((self._neighbours(x) * self.alike(x)[:, None]).flatten(1, 2))


def by_formula(name: str, pixels: int) -> Cost:
    """The cost by its leading terms, with n pixels, c channels, k × k taps and squeeze σ."""
    n, c, taps, squeezed = pixels, CHANNELS, KERNEL_SIZE**2, int(CHANNELS * SQUEEZE)
    if name == 'convolution':
        return Cost(c * c * taps, n * c * c * taps, 0)
    if name == 'depthwise':
        return Cost(c * taps, n * c * taps, 0)
    if name == 'PAC':
        return Cost(c * c * taps, n * c * c * taps + n * c * taps, n * taps)
    if name == 'DFN':
        return Cost(c * c * taps, n * c * c * taps + n * c * taps, n * c * taps)
    # One branch makes k² taps a pixel, the other by σc values k² taps a channel. Both filters are
    # combined, and applied.
    weights = c * taps + c * squeezed + squeezed * c * taps
    made = n * c * taps + c * squeezed + squeezed * c * taps
    return Cost(weights, made + 2 * n * c * taps, (n + c) * taps)


FORMULAS = {
    'convolution': ('c²k²', 'nc²k²', '-'),
    'depthwise': ('ck²', 'nck²', '-'),
    'PAC': ('c²k²', 'nc²k² + nck²', 'nk²'),
    'DFN': ('c²k²', 'nc²k² + nck²', 'nck²'),
    'DDF': ('ck² + σc²(1 + k²)', '3nck² + σc²(1 + k²)', '(n + c)k²'),
}
# Layers of 256 channels and 3×3 taps
LAYERS: dict[str, Callable[[], nn.Module]] = {
    'convolution': lambda: nn.Conv2d(CHANNELS, CHANNELS, KERNEL_SIZE, padding=1),
    'depthwise': lambda: nn.Conv2d(CHANNELS, CHANNELS, KERNEL_SIZE, padding=1, groups=CHANNELS),
    'PAC': lambda: PixelAdaptive(CHANNELS, KERNEL_SIZE),
    'DFN': lambda: DynamicFilter(CHANNELS, KERNEL_SIZE),
    'DDF': lambda: DDFPack(CHANNELS, KERNEL_SIZE, se_ratio=SQUEEZE),
}


def measured(name: str, size: tuple[int, int]) -> Cost:
    """The cost as it is counted on a module that runs."""
    layer = LAYERS[name]().eval()
    x = torch.randn(1, CHANNELS, *size)
    info = get_model_complexity_info(layer, inputs=(x,), show_table=False, show_arch=False)
    return Cost(
        sum(p.numel() for p in layer.parameters()), int(info['flops']), count_filters(layer, x)
    )


@torch.no_grad()
def count_filters(layer: nn.Module, x: Tensor) -> int:
    """Values of the filters that a layer generates for x."""
    if isinstance(layer, DynamicFilter):
        return layer.generate(x).numel()
    if isinstance(layer, PixelAdaptive):
        return layer.alike(x).numel()
    if not isinstance(layer, DDFPack):
        return 0
    with capture_filters(layer) as calls:
        layer(x)
    return sum(call.channel_filter.numel() + call.spatial_filter.numel() for call in calls)


def cost_table(size: tuple[int, int]) -> str:
    """Formulas, their values, and what is measured, side by side."""
    pixels = math.prod(size)
    table = PrettyTable(['layer', 'cost', 'formula', 'value', 'measured'])
    table.align = 'r'
    for column in ('layer', 'cost', 'formula'):
        table.align[column] = 'l'
    for name, formulas in FORMULAS.items():
        expected, found = by_formula(name, pixels), measured(name, size)
        rows = [
            ('parameters', formulas[0], expected.parameters, found.parameters),
            ('multiply-adds', formulas[1], expected.multiply_adds, found.multiply_adds),
            ('generated filters, MiB', formulas[2], expected.filters, found.filters),
        ]
        for i, (cost, formula, value, measure) in enumerate(rows):
            table.add_row(
                [
                    name if i == 0 else '',
                    cost,
                    formula,
                    *(_number(cost, v) for v in (value, measure)),
                ],
                divider=i == len(rows) - 1,
            )
    return (
        f'n = {size[0]}×{size[1]} pixels, c = {CHANNELS} channels, k = {KERNEL_SIZE}, '
        f'σ = {SQUEEZE}; filters in float32\n{table.get_string()}'
    )


def _number(cost: str, value: int) -> str:
    return f'{value * 4 / 2**20:.3f}' if 'MiB' in cost else f'{value:,}'
