"""The section on the layers: DDFPack, and DDFUpPack against CARAFE and DySample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ddf_seg.layers import DDFPack, DDFUpPack

from ..measure import Run, Settings, side_by_side
from ..upsamplers import Carafe, DySample
from .cases import SCALE, UPSAMPLE_SHAPE, Case, Shape, text
from .report import Check, Row

OF_OTHER_UPSAMPLERS = 0.7
# Branches of DDFPack to targets, forward, and forward with backward
OF_DEPTHWISE = {'spatial': (1.15, 1.25), 'both': (1.4, 1.6)}
PACK_SHAPES: tuple[Shape, ...] = (
    (1, 256, 128, 256),
    (4, 64, 96, 128),
    (2, 256, 32, 64),
    (8, 256, 14, 14),
)
SMALL_PACK_SHAPES: tuple[Shape, ...] = ((1, 32, 24, 24),)
SMALL_UPSAMPLE_SHAPE: Shape = (1, 32, 12, 12)


def _forward(layer: nn.Module, x: Tensor) -> Run:
    def run() -> Tensor:
        with torch.no_grad():
            return layer(x)

    return run


def _both(layer: nn.Module, x: Tensor) -> Run:
    """Forward and backward, with the gradients of the input and of all parameters."""
    x = x.detach().requires_grad_()
    wanted = [x, *layer.parameters()]
    with torch.no_grad():
        upstream = torch.randn_like(layer(x))

    def run() -> tuple[Tensor, ...]:
        with torch.enable_grad():
            return torch.autograd.grad(layer(x), wanted, upstream)

    return run


def _pack_rows(settings: Settings, shapes: tuple[Shape, ...]) -> Iterator[Row]:
    for shape in shapes:
        case = Case(shape, torch.float32, settings.device)
        layers: dict[str, nn.Module] = {
            'depthwise': nn.Conv2d(shape[1], shape[1], 3, padding=1, groups=shape[1]),
            **{branches: DDFPack(shape[1], branches=branches) for branches in OF_DEPTHWISE},
        }
        x = case.tensors[0]
        runs: dict[str, Run] = {}
        for name, layer in layers.items():
            layer.to(settings.device)
            runs[f'{name} forward'] = _forward(layer, x)
            runs[f'{name} both'] = _both(layer, x)
        for branches in OF_DEPTHWISE:
            runs[f'{branches} op'] = case.forward('contiguous', branches)
        times = side_by_side(settings, runs)
        for branches, targets in OF_DEPTHWISE.items():
            forward = times[f'{branches} forward']
            ratios = [
                times[f'{branches} {direction}'] / times[f'depthwise {direction}']
                for direction in ('forward', 'both')
            ]
            yield Row(
                {
                    'layer': f'DDFPack, {branches}',
                    'shape': text(shape),
                    'forward ms': forward * 1e3,
                    'operator alone': f'{100 * times[f"{branches} op"] / forward:.0f} %',
                    'forward + backward ms': times[f'{branches} both'] * 1e3,
                    'beside it': f'depthwise: {times["depthwise forward"] * 1e3:.3g}, '
                    f'{times["depthwise both"] * 1e3:.3g}',
                },
                [
                    Check(f'{what}: of depthwise', ratio, target)
                    for what, ratio, target in zip(
                        ('forward', 'forward + backward'), ratios, targets, strict=True
                    )
                ],
            )


def _upsample_rows(settings: Settings, shape: Shape) -> Iterator[Row]:
    channels = shape[1]
    case = Case(shape, torch.float32, settings.device, scale=SCALE)
    layers: dict[str, nn.Module] = {
        'DDFUpPack': DDFUpPack(channels, scale_factor=SCALE),
        'CARAFE': Carafe(channels, scale_factor=SCALE),
        'DySample': DySample(channels, scale_factor=SCALE),
    }
    x = case.tensors[0]
    runs: dict[str, Run] = {'op': case.forward('contiguous')}
    for name, layer in layers.items():
        layer.to(settings.device)
        runs[f'{name} forward'] = _forward(layer, x)
        runs[f'{name} both'] = _both(layer, x)
    times = side_by_side(settings, runs)
    others = [name for name in layers if name != 'DDFUpPack']
    for name in layers:
        cells: dict[str, str | float] = {
            'layer': name,
            'shape': text(shape),
            'forward ms': times[f'{name} forward'] * 1e3,
            'forward + backward ms': times[f'{name} both'] * 1e3,
        }
        checks = []
        if name == 'DDFUpPack':
            cells['operator alone'] = f'{100 * times["op"] / times[f"{name} forward"]:.0f} %'
            for direction, what in (('forward', 'forward'), ('both', 'forward + backward')):
                fastest = min(times[f'{other} {direction}'] for other in others)
                ratio = times[f'{name} {direction}'] / fastest
                checks.append(Check(f'{what}: of the faster other', ratio, OF_OTHER_UPSAMPLERS))
        yield Row(cells, checks)


def layer_rows(settings: Settings, quick: bool) -> Iterator[Row]:
    """Rows of the layers, in float32 and contiguous."""
    yield from _pack_rows(settings, SMALL_PACK_SHAPES if quick else PACK_SHAPES)
    yield from _upsample_rows(settings, SMALL_UPSAMPLE_SHAPE if quick else UPSAMPLE_SHAPE)
