"""For torch.hub: the trained network, and the layers. FOLDER is a checkout.

    import cv2, torch

    network = torch.hub.load(FOLDER, 'ddf_camvid', source='local')
    ids = network(torch.from_numpy(cv2.imread('street.jpg'))[None])  # (1, H, W)
    layer = torch.hub.load(FOLDER, 'DDFUpPack', source='local', in_channels=64)

The operators run compiled in a checkout that `make setup` has prepared, else in plain torch.
"""

from __future__ import annotations

from pathlib import Path as _Path
from typing import Any as _Any

from torch.nn import Module as _Module

from ddf_seg.layers import DDFPack, DDFUpPack

__all__ = ['DDFPack', 'DDFUpPack', 'ddf_camvid']

dependencies = ['torch', 'numpy']
# Links do not survive torch.hub's way to unpack a repository: no `ddf_seg::…` here.
_ROOT = _Path(__file__).resolve().parent


def ddf_camvid(scores: bool = False, backbone: str = 'lite0') -> _Module:
    """DDFHead on an EfficientNet-Lite, trained on CamVid (11 classes, images of 360×480).

    Needs the extras `mmseg` and `demo`.

    Args:
        scores: return class scores (before softmax), not ids.
        backbone: 'lite0', or the larger 'lite2'.

    Raises:
        ValueError: another backbone.

    Returns:
        A `ddf_seg.deployment.network.ImageSegmentor`: images (N, H, W, 3) uint8 in OpenCV's order
        BGR become ids (N, H, W) uint8, or scores (N, 11, H, W) float32. Its `classes` are their
        names.
    """
    import ddf_seg.openmmlab  # noqa: F401 isort: skip
    from ddf_seg.deployment.network import ImageSegmentor, Interface, metadata_of
    from ddf_seg.engine.config_file import read_config
    from ddf_seg.engine.predicting.network import load_model

    if backbone not in ('lite0', 'lite2'):
        raise ValueError(f"backbone: expected 'lite0' or 'lite2', got {backbone!r}")
    network_name = 'ddf_camvid' if backbone == 'lite0' else f'ddf_camvid-{backbone}'
    name = f'{network_name}_trainval_finetune'
    cfg = read_config(str(_ROOT / f'configs/{name}.py'))
    network = load_model(cfg, str(_ROOT / f'checkpoints/{network_name}.pth'), 'cpu')
    interface = Interface(output='scores' if scores else 'ids')
    segmentor: _Any = ImageSegmentor(network.model, interface).eval()
    segmentor.classes = metadata_of(network, cfg, name)[0].classes
    return segmentor
