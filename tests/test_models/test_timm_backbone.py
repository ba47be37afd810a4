"""timm's networks, by mmseg's own wrapper, below DDFHead (docs/other-hosts.md)."""

import pytest
import torch
from mmseg.registry import MODELS

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg.layers import DDFUpPack

timm = pytest.importorskip(
    'timm',
    reason='timm is not installed, or its torchvision does not fit torch',
    exc_type=ImportError,
)


@pytest.mark.parametrize(
    ('name', 'strides'),
    [('convnext_atto', [4, 8, 16, 32]), ('tf_efficientnet_lite0', [2, 4, 8, 16, 32])],
)
def test_its_levels_are_decoded_and_learn(name: str, strides: list[int]) -> None:
    backbone = MODELS.build(
        dict(type='TIMMBackbone', model_name=name, features_only=True, pretrained=False)
    )
    info = timm.create_model(name, features_only=True).feature_info
    assert info.reduction() == strides
    head = MODELS.build(
        dict(
            type='DDFHead',
            in_channels=info.channels(),
            in_index=list(range(len(strides))),
            strides=strides,
            channels=16,
            num_classes=5,
            norm_cfg=dict(type='BN'),
        )
    )
    levels = backbone(torch.randn(2, 3, 70, 96))
    scores = head(levels)
    assert scores.shape == (2, 5, *levels[0].shape[2:])
    assert sum(isinstance(module, DDFUpPack) for module in head.modules()) == len(strides) - 1
    scores.square().mean().backward()
    assert all(p.grad is not None for p in head.laterals.parameters())
    assert any(p.grad is not None and p.grad.any() for p in backbone.parameters())
