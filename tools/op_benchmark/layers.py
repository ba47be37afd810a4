"""The section on the layers: DDFPack, and DDFUpPack against CARAFE and DySample."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddf_seg.layers import DDFPack, DDFUpPack
from ddf_seg.ops import ddf_upsample

from .cases import SCALE, UPSAMPLE_SHAPE, Case, Shape, text
from .measure import Run, Settings, side_by_side
from .report import Check, Row

OF_OTHER_UPSAMPLERS = 0.7
PACK_SHAPES: tuple[Shape, ...] = ((1, 256, 128, 256), (2, 256, 32, 64), (8, 256, 14, 14))
SMALL_PACK_SHAPES: tuple[Shape, ...] = ((1, 32, 24, 24),)
SMALL_UPSAMPLE_SHAPE: Shape = (1, 32, 12, 12)


def carafe_pack(channels: int, scale_factor: int = SCALE) -> nn.Module | None:
    """mmcv's CARAFEPack with its reassembly by `ddf_upsample`; None without mmcv."""
    if find_spec('mmcv') is None or find_spec('mmengine') is None:
        return None
    # mmcv-lite's operators cannot be imported without it.
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmcv.ops.carafe import CARAFEPack

    class Carafe(CARAFEPack):
        def feature_reassemble(self, x: Tensor, mask: Tensor) -> Tensor:
            k = self.up_kernel
            neutral = x.new_ones(1).expand(*x.shape[:2], k, k)
            return ddf_upsample(x, neutral, mask, k, self.scale_factor)

    return Carafe(channels, scale_factor)


def assert_carafe_reassembles(carafe: Any) -> None:
    """CARAFE by its definition: unfold, nearest-neighbour upsampling, weighted sum over the taps.

    Raises:
        AssertionError: the values differ by more than rounding.
    """
    k, r = carafe.up_kernel, carafe.scale_factor
    x, mask = torch.randn(1, 3, 5, 4), torch.randn(1, k * k, 5 * r, 4 * r)
    patches = F.unfold(x, k, padding=k // 2).view(1, 3 * k * k, 5, 4)
    patches = F.interpolate(patches, scale_factor=r).view(1, 3, k * k, 5 * r, 4 * r)
    want = (patches * mask[:, None]).sum(2)
    torch.testing.assert_close(carafe.feature_reassemble(x, mask), want, rtol=1e-4, atol=1e-4)


def dysample(channels: int, scale_factor: int = SCALE, groups: int = 4) -> nn.Module | None:
    """The DySample of the package spandrel; None without it.

    Its file is loaded alone: the package's top imports torchvision, which nothing here needs.
    """
    package = find_spec('spandrel')
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / 'architectures' / '__arch_helpers' / 'dysample.py'
    spec = spec_from_file_location('spandrel_dysample', path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RuntimeError(f'{path} is missing: expected spandrel 0.4, which has DySample there')
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # The paper's form: no convolution after sampling.
    return module.DySample(channels, channels, scale_factor, groups, end_convolution=False)


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
        layer = DDFPack(shape[1]).to(settings.device)
        depthwise = nn.Conv2d(shape[1], shape[1], 3, padding=1, groups=shape[1])
        depthwise = depthwise.to(settings.device)
        x = case.tensors[0]
        times = side_by_side(
            settings,
            {
                'forward': _forward(layer, x),
                'op': case.forward('contiguous'),
                'depthwise': _forward(depthwise, x),
                'both': _both(layer, x),
                'depthwise both': _both(depthwise, x),
            },
        )
        yield Row(
            {
                'layer': 'DDFPack',
                'shape': text(shape),
                'forward ms': times['forward'] * 1e3,
                'operator alone': f'{100 * times["op"] / times["forward"]:.0f} %',
                'forward + backward ms': times['both'] * 1e3,
                'beside it': f'depthwise: {times["depthwise"] * 1e3:.3g}, '
                f'{times["depthwise both"] * 1e3:.3g}',
            }
        )


def _upsample_rows(settings: Settings, shape: Shape) -> Iterator[Row]:
    channels = shape[1]
    case = Case(shape, torch.float32, settings.device, scale=SCALE)
    layers: dict[str, nn.Module] = {'DDFUpPack': DDFUpPack(channels, scale_factor=SCALE)}
    missing = []
    for name, layer, package in (
        ('CARAFEPack', carafe_pack(channels), 'mmcv-lite'),
        ('DySample', dysample(channels), 'spandrel'),
    ):
        if layer is None:
            missing.append(name)
            sys.stderr.write(f'note: {name} is left out: pip install --no-deps {package}\n')
        else:
            layers[name] = layer
    if 'CARAFEPack' in layers:
        assert_carafe_reassembles(layers['CARAFEPack'])
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
                if others and not missing:
                    fastest = min(times[f'{other} {direction}'] for other in others)
                    ratio = times[f'{name} {direction}'] / fastest
                    checks.append(Check(f'{what}: of the faster other', ratio, OF_OTHER_UPSAMPLERS))
        yield Row(cells, checks)


def layer_rows(settings: Settings, quick: bool) -> Iterator[Row]:
    """Rows of the layers, in float32 and contiguous."""
    yield from _pack_rows(settings, SMALL_PACK_SHAPES if quick else PACK_SHAPES)
    yield from _upsample_rows(settings, SMALL_UPSAMPLE_SHAPE if quick else UPSAMPLE_SHAPE)
