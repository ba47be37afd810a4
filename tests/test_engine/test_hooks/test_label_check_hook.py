from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.runner import BaseLoop
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import DATASETS, HOOKS
from mmseg.structures import SegDataSample
from PIL import Image
from torch import nn

from ddf_seg.errors import UsageError


def make_model(**head: int | None) -> nn.Module:
    model = nn.Module()
    model.decode_head = nn.Module()
    for name, value in head.items():
        setattr(model.decode_head, name, value)
    return model


def make_sample(label: torch.Tensor, file: str) -> SegDataSample:
    sample = SegDataSample(metainfo={'seg_map_path': file})
    sample.gt_sem_seg = PixelData(data=label[None])
    return sample


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_the_hook_names_file_id_and_classes(stage: str) -> None:
    class MyRoads:
        pass

    hook = HOOKS.build({'type': 'LabelCheckHook'})
    loader = SimpleNamespace(dataset=MyRoads())
    runner = SimpleNamespace(
        model=make_model(num_classes=11, ignore_index=255), **{f'{stage}_dataloader': loader}
    )
    check = getattr(hook, f'before_{stage}_iter')
    sound = make_sample(torch.tensor([[0, 10, 255]]), 'sound.png')
    foreign = make_sample(torch.tensor([[0, 11, 33, 255]]), 'labels/foreign.png')
    check(runner, 0, {'data_samples': [sound]})
    # Without labels, and as test-time augmentation packs them
    check(runner, 0, {'data_samples': [SegDataSample()]})
    check(runner, 0, {'data_samples': [[sound, sound]]})
    with pytest.raises(UsageError, match=r'labels/foreign\.png holds label id 11, 33') as error:
        check(runner, 0, {'data_samples': [sound, foreign]})
    for part in ('0 to 10', '11 classes', '255', 'MyRoads', 'num_classes'):
        assert part in str(error.value)
    with pytest.raises(UsageError, match='foreign'):
        check(runner, 0, {'data_samples': [[sound, foreign]]})


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    """An image with a label of ids 0 and 2."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    Image.new('RGB', (10, 8)).save(tmp_path / 'images/a.png')
    label = np.zeros((8, 10), np.uint8)
    label[0] = 2
    Image.fromarray(label).save(tmp_path / 'labels/a.png')
    return tmp_path


def build(root: Path, *steps: dict[str, Any], **settings: Any) -> Any:
    init_default_scope('mmseg')
    return DATASETS.build(
        {
            'type': 'BaseSegDataset',
            'img_suffix': '.png',
            'serialize_data': False,
            'data_root': str(root),
            'data_prefix': {'img_path': 'images', 'seg_map_path': 'labels'},
            'metainfo': {'classes': ('road', 'pole', 'car')},
            'pipeline': [
                {'type': 'LoadImageFromFile'},
                {'type': 'LoadAnnotations'},
                *steps,
                {'type': 'PackSegInputs'},
            ],
            **settings,
        }
    )


def run_hook(dataset: Any, model: nn.Module) -> None:
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    batch = pseudo_collate([dataset[0]])
    HOOKS.build({'type': 'LabelCheckHook'}).before_train_iter(runner, 0, batch)


def test_a_file_is_not_blamed_for_what_the_pipeline_fills_in(roads: Path) -> None:
    model = make_model(num_classes=3, ignore_index=0)
    run_hook(build(roads), model)
    pad = {'type': 'Pad', 'size': (16, 16)}
    with pytest.raises(
        UsageError, match=r'made of .*labels/a\.png holds id 255, the file does not'
    ):
        run_hook(build(roads, pad), model)
    run_hook(build(roads, {**pad, 'pad_val': {'img': 0, 'seg': 0}}), model)
    # Here it is the file.
    with pytest.raises(UsageError, match=r'a\.png holds label id 2: expected 0 to 1'):
        run_hook(build(roads, pad), make_model(num_classes=2, ignore_index=255))


def test_ids_are_those_of_the_file(roads: Path) -> None:
    # 0 is ignored, 2 becomes 1.
    dataset = build(roads, reduce_zero_label=True)
    with pytest.raises(UsageError, match=r'a\.png holds label id 2: expected 0 to 0'):
        run_hook(dataset, make_model(num_classes=1, ignore_index=255))


def test_ids_that_are_shifted_by_one(roads: Path) -> None:
    Image.fromarray(np.full((8, 10), 3, np.uint8)).save(roads / 'labels/a.png')
    with pytest.raises(UsageError) as error:
        run_hook(build(roads), make_model(num_classes=3, ignore_index=255))
    assert 'shifted by one' not in str(error.value)
    label = np.arange(80, dtype=np.uint8).reshape(8, 10) % 3 + 1
    Image.fromarray(label).save(roads / 'labels/a.png')
    with pytest.raises(UsageError, match='Ids from 1 to 3 for 3 classes: shifted by one'):
        run_hook(build(roads), make_model(num_classes=3, ignore_index=255))


class Loop(BaseLoop):
    def __init__(self, dataset: Any) -> None:
        self.dataloader = SimpleNamespace(dataset=dataset)

    def run(self) -> None:
        raise AssertionError


def start(dataset: Any, model: nn.Module) -> None:
    runner = SimpleNamespace(
        model=model, _train_loop=Loop(dataset), _val_loop=None, _test_loop=None
    )
    HOOKS.build({'type': 'LabelCheckHook'}).before_run(runner)


def test_padding_and_settings_are_checked_at_the_start(roads: Path) -> None:
    model = make_model(num_classes=3, ignore_index=0)
    model.data_preprocessor = SegDataPreProcessor(size=(16, 16))
    with pytest.raises(
        UsageError, match=r'seg_pad_val of model\.data_preprocessor is 255, the head'
    ):
        start(build(roads), model)
    model.data_preprocessor = SegDataPreProcessor(size=(16, 16), seg_pad_val=0)
    start(build(roads), model)
    with pytest.raises(UsageError, match='seg_pad_val of RandomRotate'):
        start(build(roads, {'type': 'RandomRotate', 'prob': 1, 'degree': 9}), model)
    dataset = build(roads)
    dataset.reduce_zero_label = True
    dataset.pipeline.transforms[1].reduce_zero_label = False
    with pytest.raises(UsageError, match='reduce_zero_label is False in LoadAnnotations'):
        start(dataset, make_model(num_classes=3, ignore_index=255))


@pytest.mark.parametrize('stage', ['train', 'val', 'test'])
def test_a_batch_of_unequal_images_is_named(stage: str) -> None:
    hook = HOOKS.build({'type': 'LabelCheckHook'})
    model = make_model(num_classes=3, ignore_index=255)
    model.data_preprocessor = SegDataPreProcessor(size=(8, 8))
    runner = SimpleNamespace(model=model, **{f'{stage}_dataloader': SimpleNamespace(dataset=None)})
    samples = [SegDataSample(metainfo={'img_path': name}) for name in ('a.png', 'b.png')]

    def check(*shapes: tuple[int, int]) -> None:
        inputs = [torch.zeros(3, *shape) for shape in shapes]
        getattr(hook, f'before_{stage}_iter')(
            runner, 0, {'inputs': inputs, 'data_samples': samples}
        )

    check((8, 10), (8, 10))
    with pytest.raises(UsageError, match=r'10×8 \(a\.png\) and 12×8 \(b\.png\)') as error:
        check((8, 10), (8, 12))
    assert f'{stage}_dataloader: images of a batch differ in size' in str(error.value)
    if stage == 'train':
        # They are padded to one size.
        check((5, 7), (8, 6))
