"""Faster R-CNN of mmdet with the neck DDFFPN: what it starts as, and a training step.

Beside mmcv-lite, which has no compiled operators, the test brings its own RoIAlign and NMS.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ddf_seg.models.necks import DDFFPN

pytest.importorskip('mmdet', reason='mmdet is not installed; the extra zoo has it')

CONFIG = Path(__file__).parents[2] / 'configs/detection/faster-rcnn_r50_ddf-fpn_1x_coco.py'


class RoIAlign(nn.Module):
    """2×2 samples a bin, by grid_sample."""

    def __init__(self, output_size: int, spatial_scale: float, **_: Any) -> None:
        super().__init__()
        self.output_size = (output_size, output_size)
        self.spatial_scale = spatial_scale

    def forward(self, x: Tensor, rois: Tensor) -> Tensor:
        n = 2 * self.output_size[0]
        low, high = ((rois[:, i : i + 2] * self.spatial_scale - 0.5) for i in (1, 3))
        steps = (torch.arange(n) + 0.5) / n
        places = low[:, None] + (high - low)[:, None] * steps[:, None]
        places = (2 * places + 1) / places.new_tensor([x.shape[3], x.shape[2]]) - 1
        grid = torch.stack(
            [places[:, None, :, 0].expand(-1, n, n), places[:, :, None, 1].expand(-1, n, n)], dim=-1
        )
        maps = x[rois[:, 0].long()]
        return F.avg_pool2d(F.grid_sample(maps, grid, align_corners=False), 2)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes that no better one overlaps by more."""
    left = scores.argsort(descending=True).tolist()
    kept = []
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(1)
    while left:
        best = left.pop(0)
        kept.append(best)
        corners = torch.cat(
            [boxes[left, :2].maximum(boxes[best, :2]), boxes[left, 2:].minimum(boxes[best, 2:])], 1
        )
        both = (corners[:, 2:] - corners[:, :2] + offset).clamp(min=0).prod(1)
        overlaps = both / (area[left] + area[best] - both)
        left = [i for i, overlap in zip(left, overlaps.tolist(), strict=True)
                if overlap <= iou_threshold]  # fmt: skip
    return torch.tensor(kept)


@pytest.fixture
def cfg(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The config with a small backbone."""
    import mmcv.ops

    compiled = sys.modules['mmcv._ext']
    # The full mmcv's has a loader; ours stands in for it.
    if compiled.__spec__ is None or compiled.__spec__.loader is None:
        monkeypatch.setattr(mmcv.ops, 'RoIAlign', RoIAlign)
        monkeypatch.setattr(compiled, 'nms', nms, raising=False)
    cfg = Config.fromfile(str(CONFIG))
    cfg.model.backbone.update(depth=18, init_cfg=None)
    cfg.model.neck.in_channels = [64, 128, 256, 512]
    return cfg.model


def build(model: Any) -> Any:
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(model)


def test_the_neck_starts_as_mmdets_fpn(cfg: Any) -> None:
    ours, theirs = build(cfg.neck), build({**cfg.neck, 'type': 'FPN'})
    assert type(ours) is DDFFPN
    assert not isinstance(ours, type(theirs))
    found = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not found.unexpected_keys
    assert all(key.startswith('upsamples.') for key in found.missing_keys)
    # Levels whose sizes are no multiples of each other, too
    levels = [
        torch.randn(2, c, *size)
        for c, size in zip((64, 128, 256, 512), ((25, 38), (13, 19), (7, 10), (4, 5)), strict=True)
    ]
    for a, b in zip(ours(levels), theirs(levels), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_detector_trains_and_predicts(cfg: Any) -> None:
    from mmdet.structures import DetDataSample

    detector = build(cfg)
    detector.init_weights()
    sample = DetDataSample(metainfo=dict(img_shape=(96, 128), ori_shape=(96, 128),
                                         scale_factor=(1.0, 1.0)))  # fmt: skip
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[20.0, 16.0, 90.0, 70.0]]), labels=torch.tensor([3])
    )
    image = torch.randint(0, 256, (3, 96, 128), dtype=torch.uint8)
    image[:, 16:70, 20:90] = 250
    optimizer = OptimWrapper(torch.optim.SGD(detector.parameters(), lr=0.005, momentum=0.9))
    before = {name: p.detach().clone() for name, p in detector.neck.upsamples.named_parameters()}
    losses = []
    for _ in range(6):
        data = dict(inputs=[image.clone()], data_samples=[sample])
        losses.append(float(detector.train_step(data, optimizer)['loss']))
    assert losses[-1] < 0.8 * losses[0]
    after = dict(detector.neck.upsamples.named_parameters())
    # The finest levels' filters have learned, from where they began, at 0.
    name = '0.ddf_up.spatial_branch.guide.weight'
    assert not before[name].any()
    assert after[name].any()
    found = detector.test_step(dict(inputs=[image], data_samples=[sample]))[0].pred_instances
    assert found.bboxes.shape == (len(found.labels), 4)
