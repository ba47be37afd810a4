"""What an image takes, and a step of training: backbone, head, scores of the image's size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ddf_seg.command_line import markdown_table
from ddf_seg.engine.config_file import load_config

from ..measure import Run, Settings, machine, side_by_side
from .hosts import CLASSES, rows
from .training import BATCH, Network

# CamVid's images, padded to a multiple of 32
SIZE = (384, 480)
_SHIPPED = Path(__file__).parents[3] / 'configs/_base_/models/ddf_efficientnet-lite0.py'


def time_rows(host: str, device: torch.device, seconds: float) -> str:
    """Milliseconds of a host's rows and of DDFHead as it is shipped, in turns, as Markdown.

    Args:
        host: see `hosts.rows`.
        device: where they run; on a GPU as CUDA graphs and, in columns of their own, call by call.
        seconds: for each kind of time.
    """
    heads: dict[str, Any] = {name: build() for name, build in rows(host).items()}
    shipped = load_config(str(_SHIPPED)).model.decode_head
    shipped.update(num_classes=CLASSES, norm_cfg=dict(type='BN'), dropout_ratio=0.0)
    heads['DDFHead'] = MODELS.build(shipped)
    backbone = MODELS.build(dict(type='EfficientNetLite', out_indices=(0, 1, 2, 3, 4)))
    networks = {name: Network(backbone, head).to(device) for name, head in heads.items()}
    settings = Settings(device, seconds, torch.get_num_threads())
    columns = {}
    kinds = [('', True), (', eager', False)] if device.type == 'cuda' else [('', False)]
    for how, graphs in kinds:
        for what, make in (('ms / image', _image), (f'ms / step of {BATCH}', _step)):
            runs = {name: make(network, device) for name, network in networks.items()}
            columns[what + how] = side_by_side(settings, runs, graphs)
    table_head = ['row']
    for title in columns:
        table_head += [title, f'{title}, to bilinear']
    lines = []
    for name in networks:
        cells = [name]
        for times in columns.values():
            cells += [f'{1e3 * times[name]:.3g}', f'{times[name] / times["bilinear"]:.2f}']
        lines.append(cells)
    where = f'{machine(device)}, {settings.threads} threads, torch {torch.__version__}'
    return f'{markdown_table(table_head, lines)}\n\n{where}'


def _scores(network: nn.Module, x: Tensor) -> Tensor:
    return F.interpolate(network([x]), size=SIZE, mode='bilinear')


def _image(network: nn.Module, device: torch.device) -> Run:
    network.eval()
    x = torch.rand(1, 3, *SIZE, device=device)

    @torch.no_grad()
    def run() -> Tensor:
        return _scores(network, x)

    return run


def _step(network: nn.Module, device: torch.device) -> Run:
    """Loss and gradients, without the optimizer's part."""
    network.train()
    x = torch.rand(BATCH, 3, *SIZE, device=device)
    labels = torch.randint(CLASSES, (BATCH, *SIZE), device=device)
    parameters = list(network.parameters())

    def run() -> tuple[Tensor, ...]:
        loss = F.cross_entropy(_scores(network, x), labels)
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    return run
