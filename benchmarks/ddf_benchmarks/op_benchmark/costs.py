"""The section on what kinds of filters cost, as in tables 1 and 2 of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..measure import Run, Settings, peak_beyond_result, side_by_side
from .cases import Case, Shape, text
from .report import Row

# The first is the paper's for the operator; the other is a bottleneck's of a ResNet-50.
SHAPES: tuple[Shape, ...] = ((2, 256, 200, 300), (1, 256, 56, 56))
SMALL_SHAPES: tuple[Shape, ...] = ((1, 256, 8, 8),)


def _layers() -> Any:
    # With OpenMMLab, which the other sections do without
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from mmengine.logging import MMLogger

    from ddf_seg.analysis import layers

    # mmengine warns of every elementwise operation, which it does not count.
    MMLogger.get_current_instance().setLevel('ERROR')
    return layers


def _run(name: str, x: Tensor) -> Run:
    layer = _layers().LAYERS[name]().eval().to(x.device)

    def run() -> Tensor:
        with torch.no_grad():
            out: Tensor = layer(x)
            return out

    return run


def _calls(name: str, shape: Shape, device: torch.device, threads: int) -> tuple[Run, Run]:
    """A small call and the one to measure, in a process of their own."""
    torch.set_num_threads(threads)
    small, x = (torch.randn(size, device=device) for size in ((1, shape[1], 8, 8), shape))
    return _run(name, small), _run(name, x)


def cost_rows(settings: Settings, quick: bool) -> Iterator[Row]:
    """Rows of a convolution, a depthwise one, PAC, a full dynamic filter and DDF."""
    layers = _layers()
    for shape in SMALL_SHAPES if quick else SHAPES:
        x = Case(shape, torch.float32, settings.device).tensors[0]
        runs = {name: _run(name, x) for name in layers.LAYERS}
        times = side_by_side(settings, runs)
        for name in layers.LAYERS:
            cost = layers.measured(name, shape[2:])
            make = partial(_calls, name, shape, settings.device, settings.threads)
            yield Row(
                {
                    'layer': name,
                    'shape': text(shape),
                    'parameters': f'{cost.parameters:,}',
                    'multiply-adds M': shape[0] * cost.multiply_adds / 1e6,
                    'filters MiB': shape[0] * cost.filters * 4 / 2**20,
                    'peak MiB': peak_beyond_result(make, settings.device) / 2**20,
                    'forward ms': times[name] * 1e3,
                    'to depthwise': times[name] / times['depthwise'],
                }
            )
