from __future__ import annotations

from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from torch import nn

from ddf_seg.engine.explanations import explained
from ddf_seg.errors import UsageError

HEAD = {
    'type': 'FCNHead',
    'in_channels': 4,
    'channels': 4,
    'num_classes': 3,
    'norm_cfg': {'type': 'BN'},
    'loss_decode': {'type': 'CrossEntropyLoss'},
}


def build_head(changes: dict[str, Any]) -> None:
    head = {key: value for key, value in {**HEAD, **changes}.items() if value is not None}
    cfg = Config({'model': {'decode_head': head}})
    with explained(cfg):
        MODELS.build(cfg.model.decode_head)


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({'num_conv': 1}, "num_conv: FCNHead has no argument 'num_conv' (did you mean 'num_convs'"),
        # The argument of a base class, behind **kwargs
        ({'chanels': 1}, "chanels: FCNHead has no argument 'chanels' (did you mean 'channels'"),
        ({'zzzz': 1}, "'zzzz'; it has num_convs, kernel_size"),
        ({'type': 'FCNHaed'}, "type: 'FCNHaed' is not registered among the models (did you mean "),
        ({'norm_cfg': {'type': 'SynBN'}}, "norm_cfg.type: 'SynBN' is not registered"),
        ({'norm_cfg': {'type': 'BN', 'epps': 1}}, 'norm_cfg.epps: BatchNorm2d has no argument'),
        ({'loss_decode': {'type': 'CrossEntropyLos'}}, "did you mean 'CrossEntropyLoss'"),
        ({'loss_decode': {'type': 'DiceLoss', 'smoth': 1}}, 'loss_decode.smoth: DiceLoss has no'),
        ({'loss_decode': {'loss_weight': 1.0}}, "lacks 'type', it has only loss_weight"),
        ({'num_classes': None}, "FCNHead in the config lacks 'num_classes'"),
    ],
)
def test_what_a_constructor_or_registry_rejects(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as error:
        build_head(changes)
    assert expected in str(error.value)
    if "lacks 'num_classes'" not in expected:
        assert str(error.value).startswith('model.decode_head')
    assert len(str(error.value)) < 400


def test_a_sound_head_is_built() -> None:
    build_head({})


class FaultyHead(nn.Module):
    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        if kwargs:
            raise KeyError(kwargs.popitem()[0])
        nn.Conv2d(in_channels=channels, out_channels=1, kernel_sice=1)  # type: ignore[call-arg]


def test_the_code_s_own_mistakes_keep_their_traceback() -> None:
    MODELS.register_module(name='FaultyHead', module=FaultyHead, force=True)
    for argument, kind in (({}, TypeError), ({'key': 1}, KeyError)):
        cfg = Config({'model': {'type': 'FaultyHead', 'channels': 1, **argument}})
        with pytest.raises(kind), explained(cfg):
            MODELS.build(cfg.model)


def test_what_the_runner_rejects(tmp_path: Any) -> None:
    cfg = Config({'model': {'type': 'ToyModel'}, 'randomness': {'sed': 1}})
    cfg.work_dir = str(tmp_path)
    MODELS.register_module(name='ToyModel', module=lambda **_: nn.Linear(1, 1), force=True)
    with pytest.raises(UsageError, match=r"randomness\.sed: .*did you mean 'seed'"), explained(cfg):
        Runner.from_cfg(cfg)


def test_a_dataset_without_a_fitting_file(tmp_path: Any) -> None:
    (tmp_path / 'a.jpeg').touch()
    prefix = {'img_path': str(tmp_path), 'seg_map_path': str(tmp_path)}
    cfg = Config({'dataset': {'type': 'CityscapesDataset', 'data_prefix': prefix}})
    with (
        pytest.raises(UsageError, match=rf'found no image: .*_leftImg8bit\.png in {tmp_path}'),
        explained(cfg),
    ):
        DATASETS.build(cfg.dataset)
