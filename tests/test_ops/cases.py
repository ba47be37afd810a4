"""Random operator calls that between them reach every geometry, layout and way of combining."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from naive import Pair, pair
from torch import Tensor

KERNELS: tuple[int | Pair, ...] = (1, 3, 5, 7, (3, 5))
DILATIONS: tuple[int | Pair, ...] = (1, 2, 3, (1, 2))
STRIDES: tuple[int | Pair, ...] = (1, 2, (2, 1))
LAYOUTS = ('contiguous', 'channels_last', 'sliced', 'transposed', 'expanded')


@dataclass(frozen=True)
class Call:
    """Shapes, layouts and arguments of a call; `stride` is None for `ddf_upsample`.

    `filters` names those there are: 'F' (channel), 'S' (spatial) or both; the other one is None.
    """

    batch: int
    channels: int
    groups: int
    size: Pair
    out_size: Pair
    kernel_size: int | Pair
    dilation: int | Pair
    kernel_combine: str
    layouts: tuple[str, str, str]
    stride: int | Pair | None = None
    scale_factor: int = 1
    phased: bool = False
    filters: str = 'FS'

    @property
    def arguments(self) -> dict[str, int | Pair | str]:
        own: dict[str, int | Pair | str] = {'scale_factor': self.scale_factor}
        if self.stride is not None:
            own = {'stride': self.stride}
        return {
            'kernel_size': self.kernel_size,
            'dilation': self.dilation,
            'kernel_combine': self.kernel_combine,
            **own,
        }

    def tensors(
        self, dtype: torch.dtype = torch.float64, requires_grad: bool = False
    ) -> tuple[Tensor, Any, Any]:
        """Features, channel filter and spatial filter."""
        kernel = pair(self.kernel_size)
        phases = (self.scale_factor**2,) if self.phased else ()
        shapes = (
            (self.batch, self.channels, *self.size),
            (self.batch, *phases, self.channels, *kernel),
            (self.batch, self.groups * kernel[0] * kernel[1], *self.out_size),
        )
        generator = torch.Generator().manual_seed(7)
        x, f, s = (
            laid_out(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype), how)
            for shape, how in zip(shapes, self.layouts, strict=True)
        )
        if requires_grad:
            x, f, s = (t.requires_grad_() for t in (x, f, s))
        return x, f if 'F' in self.filters else None, s if 'S' in self.filters else None

    def grad_output(self, dtype: torch.dtype = torch.float64) -> Tensor:
        generator = torch.Generator().manual_seed(8)
        shape = (self.batch, self.channels, *self.out_size)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    def __str__(self) -> str:
        values = (
            f'{self.batch}x{self.channels}x{self.size[0]}x{self.size[1]}',
            f'to{self.out_size[0]}x{self.out_size[1]}',
            f'g{self.groups}',
            f'k{self.kernel_size}',
            f'd{self.dilation}',
            f's{self.stride}' if self.stride is not None else f'r{self.scale_factor}',
            self.kernel_combine,
            *(('phased',) if self.phased else ()),
            *((f'{self.filters}alone',) if len(self.filters) == 1 else ()),
            '+'.join(how[:3] for how in self.layouts),
        )
        return '-'.join(values).replace(', ', 'x').replace('(', '').replace(')', '')


def laid_out(x: Tensor, how: str) -> Tensor:
    """The values of `x` (for 'expanded': of its first sample) in another memory layout."""
    if how == 'channels_last':
        return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
    if how == 'sliced':
        wide = x.new_full((*x.shape[:-1], 2 * x.shape[-1] + 1), torch.nan)
        wide[..., 1::2] = x
        return wide[..., 1::2]
    if how == 'transposed':
        return x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if how == 'expanded':
        return x[:1].expand(x.shape) if x.shape[0] else x
    return x


def present(tensors: Sequence[Any]) -> list[Tensor]:
    """Those of the tensors of a call that are there."""
    return [t for t in tensors if t is not None]


def of_one_filter(calls: Sequence[Call]) -> list[Call]:
    """The calls with the spatial filter alone, and with the channel filter alone."""
    of_pixels = [replace(call, filters='S') for call in calls]
    of_channels = [replace(c, filters='F', groups=1, out_size=_whole_size(c)) for c in calls]
    return [*of_pixels, *of_channels]


def _whole_size(call: Call) -> Pair:
    """The output's size where no spatial filter gives it."""
    down, r = pair(call.stride or 1), call.scale_factor
    return r * -(-call.size[0] // down[0]), r * -(-call.size[1] // down[1])


def ddf_calls(count: int) -> list[Call]:
    """`count` calls of `ddf`: every kernel with every stride and dilation, the rest drawn."""
    rng = random.Random(0)
    calls = []
    for i in range(count):
        kernel, stride = KERNELS[i % 5], STRIDES[i % 3]
        size = (rng.randint(1, 9), rng.randint(1, 9))
        groups = rng.choice((1, 2, 3))
        down = pair(stride)
        calls.append(
            Call(
                batch=rng.choice((1, 2)),
                channels=groups * rng.choice((1, 2)),
                groups=groups,
                size=size,
                out_size=(-(-size[0] // down[0]), -(-size[1] // down[1])),
                kernel_size=kernel,
                dilation=DILATIONS[i % 4],
                kernel_combine=('mul', 'add')[i // 5 % 2],
                layouts=(rng.choice(LAYOUTS), rng.choice(LAYOUTS), rng.choice(LAYOUTS)),
                stride=stride,
            )
        )
    return calls


def ddf_upsample_calls(count: int) -> list[Call]:
    """`count` calls of `ddf_upsample`, two in three at a size that is no multiple of r."""
    rng = random.Random(1)
    calls = []
    for i in range(count):
        r = (2, 3, 1, 4)[i % 4]
        size = (rng.randint(1, 4), rng.randint(1, 4))
        off = (0, 0) if i % 3 == 0 else (rng.randint(1 - r, r - 1), rng.randint(1 - r, r - 1))
        groups = rng.choice((1, 2, 3))
        calls.append(
            Call(
                batch=rng.choice((1, 2)),
                channels=groups * rng.choice((1, 2)),
                groups=groups,
                size=size,
                out_size=(r * size[0] + off[0], r * size[1] + off[1]),
                kernel_size=KERNELS[i % 5],
                dilation=DILATIONS[i // 4 % 4],
                kernel_combine=('mul', 'add')[i // 5 % 2],
                layouts=(rng.choice(LAYOUTS), rng.choice(LAYOUTS), rng.choice(LAYOUTS)),
                scale_factor=r,
                phased=i % 2 == i // 4 % 2,
            )
        )
    return calls
