"""What an image takes: backbone, head and the interpolation of its scores to the image's size."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ddf_seg.command_line import markdown_table

from ..measure import Run, Settings, machine, side_by_side
from .hosts import rows

# CamVid's images, padded to a multiple of 32
SIZE = (384, 480)


def time_rows(host: str, seconds: float) -> str:
    """Milliseconds of a host's rows for an image, measured in turns, as Markdown."""
    backbone: Any = MODELS.build(dict(type='EfficientNetLite', out_indices=(0, 1, 2, 3, 4))).eval()
    x = torch.rand(1, 3, *SIZE)
    settings = Settings(torch.device('cpu'), seconds, torch.get_num_threads())
    heads = {name: build().eval() for name, build in rows(host).items()}
    times = side_by_side(settings, {name: _run(backbone, head, x) for name, head in heads.items()})
    lines = [
        [name, f'{1e3 * time:.1f}', f'{time / times["bilinear"]:.2f}']
        for name, time in times.items()
    ]
    where = f'{machine(settings.device)}, {settings.threads} threads, torch {torch.__version__}'
    return f'{markdown_table(["row", "ms / image", "to bilinear"], lines)}\n\n{where}'


def _run(backbone: nn.Module, head: nn.Module, x: Tensor) -> Run:
    @torch.no_grad()
    def run() -> Tensor:
        return F.interpolate(head(backbone(x)), size=SIZE, mode='bilinear')

    return run
