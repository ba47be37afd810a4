"""What changes in a config, what stays, and what is refused (the zoo: test_tools)."""

from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from openmmlab_toy import make_resnets_shallow

from ddf_seg.engine.config_file import load_config
from ddf_seg.errors import UsageError
from ddf_seg.layers import DDFConv2d, DDFUpPack, DDFUpsample
from ddf_seg.swap import plan_swap, swap_heads

R18 = 'pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py'
R50 = 'pspnet/pspnet_r50-d8_4xb2-80k_cityscapes-512x1024.py'
REFUSED = {
    'segmenter/segmenter_vit-t_mask_8xb1-160k_ade20k-512x512.py': 'products of patch tokens',
    'san/san-vit-b16_voc12aug-640x640.py': 'tokens of two transformers',
    'vpd/vpd_sd_4xb8-25k_nyu-480x480.py': 'estimates depth',
}


@pytest.fixture(autouse=True)
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    make_resnets_shallow(monkeypatch)


@pytest.mark.parametrize('config', REFUSED)
def test_refusals_say_why(config: str) -> None:
    with pytest.raises(UsageError, match=f'cannot be swapped: .*{REFUSED[config]}'):
        plan_swap(load_config(f'mmseg::{config}'))


def test_only_what_must_change_does() -> None:
    cfg = load_config(f'mmseg::{R18}')
    before = cfg.to_dict()
    swapped = swap_heads(cfg).to_dict()
    assert cfg.to_dict() == before
    assert swapped.pop('custom_imports')['imports'] == ['ddf_seg.openmmlab']
    head = swapped['model']['decode_head']
    assert head.pop('head') == 'PSPHead'
    assert (head.pop('guide_index'), head.pop('guide_channels')) == ([0], [64])
    assert head['type'] == 'DDFGuidedHead'
    head['type'] = 'PSPHead'
    assert swapped == before


@pytest.mark.parametrize(
    ('imports', 'expected'),
    [
        (None, ['ddf_seg.openmmlab']),
        (dict(imports='mmdet.models'), ['mmdet.models', 'ddf_seg.openmmlab']),
        (dict(imports=['a', 'ddf_seg.openmmlab']), ['a', 'ddf_seg.openmmlab']),
    ],
)
def test_imports_are_the_union(imports: Any, expected: list[str]) -> None:
    cfg = load_config(f'mmseg::{R18}')
    cfg.custom_imports = imports
    assert swap_heads(cfg).custom_imports.imports == expected


@pytest.mark.parametrize(
    ('config', 'strides'),
    [
        ('upernet/upernet_r50_4xb2-40k_cityscapes-512x1024.py', None),
        ('vit/vit_deit-s16_upernet_8xb2-80k_ade20k-512x512.py', [16, 16, 16, 16]),
        ('deeplabv3plus/deeplabv3plus_r101-d16-mg124_4xb2-40k_cityscapes-512x1024.py', [4, 16]),
        ('deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py', None),
    ],
)
def test_strides_are_those_of_the_backbone(config: str, strides: list[int] | None) -> None:
    model = dict(backbone=dict(num_layers=12, embed_dims=384)) if 'vit' in config else {}
    cfg = load_config(f'mmseg::{config}')
    cfg.merge_from_dict(dict(model=model))
    head = swap_heads(cfg).model.decode_head
    assert head.get('ddf_cfg', {}).get('strides') == strides


def test_guides_lead_to_the_finest_level_step_by_step() -> None:
    cfg = load_config('mmseg::fcn/fcn_r101-d8_4xb2-40k_cityscapes-512x1024.py')
    cfg.model.backbone.update(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))
    head = swap_heads(cfg).model.decode_head
    assert (head.guide_index, head.guide_channels) == ([0, 1, 2], [256, 512, 1024])
    assert 'ddf_cfg' not in head


def build(cfg: Config) -> Any:
    cfg.model.pretrained = None
    return MODELS.build({'_scope_': 'mmseg', **cfg.model})


def count(model: Any, kind: type) -> int:
    return sum(isinstance(module, kind) for module in model.modules())


def test_upsampling_in_necks_and_unets() -> None:
    fpn = load_config('mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py')
    swapped = swap_heads(fpn, head=False, upsample=True)
    assert swapped.model.neck.type == 'DDFFPN'
    assert swapped.model.decode_head.type == 'FPNHead'
    assert count(build(swapped), DDFUpPack) == 3
    unet = load_config('mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py')
    swapped = swap_heads(unet, head=False, upsample=True)
    assert swapped.model.backbone.upsample_cfg.to_dict() == dict(
        type='DDFUp', normalization='interpolation', branches='spatial', kernel_size=5
    )
    model = build(swapped).backbone
    assert count(model, DDFUpsample) == 4
    assert [tuple(x.shape[2:]) for x in model(torch.randn(1, 3, 32, 48))][-1] == (32, 48)


def test_a_neck_that_leaves_levels_out_is_told_of_those_it_takes() -> None:
    """mmseg's end_level is exclusive."""
    cfg = load_config('mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py')
    cfg.model.backbone.update(strides=(1, 2, 1, 2), dilations=(1, 1, 2, 1))
    cfg.model.neck.update(start_level=1, end_level=3, num_outs=2)
    swapped = swap_heads(cfg, head=False, upsample=True)
    assert swapped.model.neck.ddf_cfg.strides == [8, 8]
    neck = build(swapped).neck
    maps = neck([torch.randn(1, c, 8, 8) for c in cfg.model.neck.in_channels])
    assert [tuple(x.shape[1:]) for x in maps] == [(256, 8, 8)] * 2


def test_convolutions_of_the_head() -> None:
    cfg = load_config('mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py')
    swapped = swap_heads(cfg, head=False, convs=True)
    model = build(swapped)
    assert count(model.decode_head, DDFConv2d) == 3
    assert all(m.pointwise is not None for m in model.decode_head.modules() if type(m) is DDFConv2d)
    assert count(model.backbone, DDFConv2d) == 0


def test_backbones() -> None:
    cfg = load_config('mmseg::icnet/icnet_r50-d8_4xb2-80k_cityscapes-832x832.py')
    swapped = swap_heads(cfg, head=False, backbone=True)
    assert swapped.model.backbone.type == 'ICNet'
    assert swapped.model.backbone.backbone_cfg.type == 'DDFResNetV1c'
    assert swap_heads(load_config(f'mmseg::{R50}'), backbone=True).model.backbone.depth == 50


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (R18, dict(backbone=True), 'backbone: depth 18 cannot be swapped'),
        (R18, dict(upsample=True), 'neither the backbone .ResNetV1c. nor the neck .none.'),
        (R18, {}, 'nothing to swap: expected head'),
        (
            'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
            dict(convs=True),
            'none of the convolutions of SegformerHead',
        ),
        (
            'segformer/segformer_mit-b0_8xb1-160k_cityscapes-1024x1024.py',
            dict(backbone=True),
            'MixVisionTransformer cannot be swapped',
        ),
        ('_base_/datasets/cityscapes.py', dict(head=True), 'no model with a backbone'),
    ],
)
def test_what_makes_no_sense_is_refused(
    config: str, options: dict[str, bool], message: str
) -> None:
    cfg = load_config(f'mmseg::{config}')
    with pytest.raises(UsageError, match=message):
        swap_heads(cfg, **{'head': False, **options})


def test_a_swapped_config_is_not_swapped_again() -> None:
    with pytest.raises(UsageError, match='DDFGuidedHead is a DDF head already'):
        swap_heads(swap_heads(load_config(f'mmseg::{R18}')))


def test_an_original_that_does_not_run_is_named() -> None:
    cfg = load_config(f'mmseg::{R18}')
    cfg.model.decode_head.in_channels = 7
    with pytest.raises(UsageError, match=r'the original cannot be run here .*PSPHead'):
        swap_heads(cfg)
