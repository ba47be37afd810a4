"""The hook in a training: pictures for every backend, and a training that does not notice."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import LocalVisBackend
from mmseg.registry import VISBACKENDS
from openmmlab_toy import forget_visualizers, toy_config, write_cityscapes
from PIL import Image

from ddf_seg.errors import UsageError
from ddf_seg.visualization import FilterVisualizationHook
from ddf_seg.visualization.hook import _read

HEAD = dict(
    type='DDFHead', in_channels=[32, 64], in_index=[2, 3], channels=8, strides=[8, 16],
    num_classes=19, norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
)  # fmt: skip


@VISBACKENDS.register_module()
class Recorder(LocalVisBackend):
    """A second backend, as TensorBoard's would be."""

    images: list = []  # noqa: RUF012

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, image, step))


class WatchModes(Hook):
    """Asserts that modules end an iteration in the mode that they began it in."""

    priority = 'LOWEST'
    number = 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # One in the other mode, where it changes nothing.
        runner.model.data_preprocessor.eval()
        self.modes = {name: module.training for name, module in runner.model.named_modules()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        for name, module in runner.model.named_modules():
            assert module.training == self.modes[name], name
        self.number += 1


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('hook')
    write_cityscapes(folder / 'data')
    return folder


def make_runner(data, work_dir, *hooks, **options) -> Runner:
    forget_visualizers()
    Recorder.images.clear()
    backends = [dict(type='LocalVisBackend'), dict(type='Recorder')]
    config = toy_config(
        data, max_iters=4, work_dir=str(work_dir), custom_hooks=list(hooks),
        visualizer=dict(type='SegLocalVisualizer', vis_backends=backends, name='visualizer'),
        model__auxiliary_head=None, **options,
    )  # fmt: skip
    config.model.decode_head = HEAD
    config.model.backbone.strides = (1, 2, 1, 2)
    config.model.backbone.dilations = (1, 1, 1, 1)
    config.default_hooks.visualization.draw = False
    # Draws random numbers in the forward pass: drawing must not shift them.
    config.model.decode_head.dropout_ratio = 0.5
    return Runner.from_cfg(config)


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_pictures_while_the_training_goes_on_as_without(data, tmp_path):
    plain = make_runner(data, tmp_path / 'plain')
    plain.train()
    hook = dict(
        type='FilterVisualizationHook', interval=2, images=2, pictures=('overview', 'channels')
    )
    runner = make_runner(data, tmp_path / 'drawn', hook)
    # The training loop would set all modes right before its next step, and hide what drawing left.
    watch = WatchModes()
    runner.register_hook(watch)
    runner.train()
    for name, value in weights(plain).items():
        assert torch.equal(runner.model.state_dict()[name], value), name
    assert watch.number == 4
    layer = 'decode_head.refinements.0.depthwise'
    names = [f'filters_{i}_{n}' for i in (0, 1) for n in ('overview', f'{layer}_channels')]
    assert [(name, step) for name, _, step in Recorder.images] == [
        *((name, 2) for name in names), *((name, 4) for name in names),
    ]  # fmt: skip
    for _, image, _ in Recorder.images:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.std() > 10
    # The filters moved, the image did not.
    (_, before, _), (_, after, _) = Recorder.images[0], Recorder.images[4]
    assert before.shape == after.shape
    assert (before != after).any()
    files = list((tmp_path / 'drawn').glob('*/vis_data/vis_image/*_4.png'))
    assert len(files) == 4


def test_off(data, tmp_path):
    runner = make_runner(data, tmp_path, dict(type='FilterVisualizationHook', interval=0))
    runner.train()
    assert not Recorder.images


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(layers=['decode_head.refinement']), r"'decode_head.refinement' makes no DDF call"),
        (dict(images=[7]), r'images: expected indices from 0 to 1 .*got 7'),
    ],
)
def test_mistakes(data, tmp_path, arguments, message):
    hook = dict(type='FilterVisualizationHook', interval=1, pictures=['channels'], **arguments)
    with pytest.raises(UsageError, match=message):
        make_runner(data, tmp_path, hook).train()


def test_an_unknown_picture():
    with pytest.raises(ValueError, match="got 'movie'"):
        FilterVisualizationHook(pictures=['movie'])


def test_images_are_shown_as_the_pipeline_loads_them(tmp_path):
    scene = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    image = Image.fromarray(scene[..., ::-1])
    exif = image.getexif()
    exif[0x112] = 6
    image.save(tmp_path / 'x.png', exif=exif)
    for colours, expected in (('color', np.rot90(scene, -1)), ('color_ignore_orientation', scene)):
        load = LoadImageFromFile(color_type=colours)
        dataset = SimpleNamespace(pipeline=SimpleNamespace(transforms=[load]))
        several = SimpleNamespace(datasets=[SimpleNamespace(dataset=dataset)])
        for each in (dataset, several):
            np.testing.assert_array_equal(_read(each, str(tmp_path / 'x.png')), expected)
    with pytest.raises(UsageError, match=r'FilterVisualizationHook: .*no\.png: missing'):
        _read(dataset, str(tmp_path / 'no.png'))
