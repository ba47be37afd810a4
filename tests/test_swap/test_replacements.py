"""What classes say that they can stand in place of."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS

from ddf_seg.engine.config_file import load_config
from ddf_seg.engine.lookup.classes import arguments
from ddf_seg.models.backbones.ddf_resnet import DDFResNet
from ddf_seg.swap import plan_swap
from ddf_seg.swap.replacements import replaced_by, replacement_of

FCN = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py'
REPLACED = {
    'ASPPHead': 'DDFASPPHead',
    'DepthwiseSeparableASPPHead': 'DDFASPPHead',
    'FPN': 'DDFFPN',
    'FPNHead': 'DDFFPNHead',
    'ResNet': 'DDFResNet',
    'ResNetV1c': 'DDFResNetV1c',
    'ResNetV1d': 'DDFResNetV1d',
    'SegformerHead': 'DDFSegformerHead',
    'UPerHead': 'DDFUPerHead',
}


@pytest.mark.parametrize('original', REPLACED)
def test_a_replacement_takes_the_arguments_of_its_original(original: str) -> None:
    found = replacement_of(original)
    assert found is not None
    assert found.name == REPLACED[original]
    assert set(arguments(found.kind)) >= set(arguments(MODELS.get(original)))


def test_what_nothing_replaces() -> None:
    assert replacement_of('PSPHead') is None
    assert replacement_of('') is None
    assert replaced_by(DDFResNet) == ['ResNet', 'ResNetV1c', 'ResNetV1d']


@pytest.fixture
def own_heads() -> Iterator[None]:
    """A head of the user's for FCNHead, and one below it that says nothing."""

    class MyHead(FCNHead):
        replaces = ('FCNHead',)
        brings = 'nothing new'
        wants_strides_of = staticmethod(itemgetter('my_levels'))

        def __init__(self, my_levels: Any, ddf_cfg: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    class MyOtherHead(MyHead):
        pass

    for kind in (MyOtherHead, MyHead):
        MODELS.register_module(module=kind)
    yield
    for kind in (MyOtherHead, MyHead):
        del MODELS.module_dict[kind.__name__]


@pytest.mark.usefixtures('own_heads')
def test_a_head_of_the_users_own_is_put_in() -> None:
    cfg = load_config(FCN)
    cfg.model.decode_head.my_levels = [0, 3]
    plan = plan_swap(cfg)
    # 4 and 8, the dilated backbone's last
    assert plan.options['model']['decode_head'] == dict(type='MyHead')
    cfg.model.decode_head.my_levels = [1, 3]
    plan = plan_swap(cfg)
    change = dict(type='MyHead', ddf_cfg=dict(strides=[8, 8]))
    assert plan.options['model']['decode_head'] == change
    assert plan.notes == ['decode_head: FCNHead -> MyHead: nothing new']
