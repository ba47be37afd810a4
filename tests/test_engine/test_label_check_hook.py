from __future__ import annotations

from types import SimpleNamespace

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from ddf_seg.engine.errors import UsageError
from ddf_seg.engine.hooks.label_check_hook import foreign_ids, label_range


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


@pytest.mark.parametrize(
    ('low', 'high', 'dtype'),
    [(0, 19, 'int64'), (0, 25, 'int64'), (-2, 25, 'int64'), (0, 256, 'uint8'), (0, 70000, 'int32')],
)
def test_foreign_ids_are_what_numpy_finds(low: int, high: int, dtype: str) -> None:
    label = np.random.default_rng(0).integers(low, high, (33, 47)).astype(dtype)
    label[0] = 255
    expected = sorted(set(label.ravel().tolist()) - set(range(19)) - {255})
    assert foreign_ids(torch.from_numpy(label), 19, 255) == expected


def test_an_ignored_id_inside_and_an_empty_label() -> None:
    assert foreign_ids(torch.tensor([[0, 3, 255]]), 3, 3) == [255]
    assert foreign_ids(torch.empty(0, 4, dtype=torch.int64), 3, 255) == []


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


def test_the_range_is_the_last_heads() -> None:
    cascade = nn.Module()
    heads = [make_model(num_classes=5).decode_head, make_model(num_classes=7).decode_head]
    cascade.decode_head = nn.ModuleList(heads)  # type: ignore[arg-type]
    assert label_range(cascade) == (7, 255)
    assert label_range(make_model(num_classes=3, ignore_index=0)) == (3, 0)
    wrapper = nn.Module()
    wrapper.module = make_model(num_classes=3, ignore_index=None)
    assert label_range(wrapper) == (3, 255)
    assert label_range(nn.Linear(1, 1))[0] is None
