"""What torch.hub finds in a checkout."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model, init_model
from scripts import ROOT, load_script

from ddf_seg.layers import DDFUpPack
from road_scenes import render_scene


def load(name: str, **arguments: object) -> torch.nn.Module:
    module: torch.nn.Module = torch.hub.load(str(ROOT), name, source='local', **arguments)
    return module


def test_every_entry_is_explained() -> None:
    # As torch.hub.list finds them
    hub = load_script('hubconf.py')
    entries = {k: v for k, v in vars(hub).items() if callable(v) and not k.startswith('_')}
    assert entries.keys() == set(hub.__all__)
    assert all(entries[name].__doc__ for name in hub.__all__)
    assert all(find_spec(package) for package in hub.dependencies)


@pytest.mark.parametrize(
    ('name', 'options'), [('ddf_camvid', {}), ('ddf_camvid-lite2', dict(backbone='lite2'))]
)
def test_the_trained_networks_predict_what_mmseg_does(name: str, options: dict[str, Any]) -> None:
    image = np.ascontiguousarray(render_scene(3, (360, 480))[0])
    network = load('ddf_camvid', **options)
    files = (f'configs/{name}_trainval_finetune.py', f'checkpoints/{name}.pth')
    model = init_model(*(str(ROOT / file) for file in files), device='cpu')
    expected = inference_model(model, image).pred_sem_seg.data[0]
    with torch.no_grad():
        ids = network(torch.from_numpy(image)[None])[0]
        scores = load('ddf_camvid', scores=True, **options)(torch.from_numpy(image)[None])
    assert len(expected.unique()) > 4
    assert (ids == expected).float().mean() > 0.999
    assert scores.shape == (1, 11, 360, 480)
    assert torch.equal(scores.argmax(1)[0], ids.long())
    assert network.classes == list(model.dataset_meta['classes'])


def test_another_backbone_is_named() -> None:
    with pytest.raises(ValueError, match="backbone: expected 'lite0' or 'lite2', got 'lite9'"):
        load('ddf_camvid', backbone='lite9')


def test_layers() -> None:
    layer = load('DDFUpPack', in_channels=8, scale_factor=2)
    assert type(layer).__name__ == DDFUpPack.__name__
    assert layer(torch.randn(1, 8, 4, 6)).shape == (1, 8, 8, 12)
