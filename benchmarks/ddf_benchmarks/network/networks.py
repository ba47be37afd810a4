"""The networks: EfficientNet-Lite0 and a decoder, from an image in OpenCV's form to class ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import torch
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import MODELS
from torch.nn.modules.batchnorm import _BatchNorm

from ddf_seg.engine.config_file import load_config

from ..study.hosts import CLASSES, rows

_CONFIG = Path(__file__).parents[3] / 'configs/_base_/models/ddf_efficientnet-lite0.py'
_HOST = 'segformer'


def image(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(1, H, W, 3) uint8: areas of random colours, the same for all networks."""
    coarse = np.random.default_rng(seed).integers(0, 256, (-(-size[0] // 8), -(-size[1] // 8), 3))
    fine = coarse.astype(np.uint8).repeat(8, 0).repeat(8, 1)[: size[0], : size[1]]
    return np.ascontiguousarray(fine[None])


def build_network(row: str) -> Any:
    """mmseg's segmentor of a row, with random weights that are the same every time.

    Args:
        row: of `ROWS`.
    """
    torch.manual_seed(0)
    cfg = load_config(str(_CONFIG)).model
    cfg.backbone.init_cfg = None
    cfg.decode_head.num_classes = CLASSES
    network = MODELS.build(dict(_scope_='mmseg', **cfg))
    if row != 'DDFHead':
        network.decode_head = rows(_HOST)[row]()
    network = revert_sync_batchnorm(network)
    for parameter in network.decode_head.parameters():
        if not parameter.any():
            # What starts at 0 would leave the dynamic filters those of interpolation.
            torch.nn.init.normal_(parameter, std=0.1)
    _fill_statistics(network)
    return network.eval()


@torch.no_grad()
def _fill_statistics(network: Any) -> None:
    """Sets the normalisations to those of one image; else all pixels get the same class."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None
    network.train()
    x = torch.from_numpy(image((128, 160))).permute(0, 3, 1, 2).float() / 64 - 2
    network._forward(x)
