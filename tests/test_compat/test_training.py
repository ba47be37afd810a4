"""Training, resuming, testing and inference with mmseg's own parts on this machine's versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from openmmlab_toy import forget_visualizers, toy_config, train, write_cityscapes

import ddf_seg.openmmlab  # noqa: F401


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('openmmlab')
    write_cityscapes(folder / 'data')
    return folder


@pytest.fixture(scope='module')
def trained(folder: Path) -> tuple[Runner, Path]:
    runner, losses = train(folder, 4)
    assert list(losses) == [1, 2, 3, 4]
    return runner, folder / 'work' / 'iter_4.pth'


def test_resume(folder: Path, trained: tuple[Runner, Path]) -> None:
    before = torch.load(trained[1], weights_only=True)
    assert before['meta']['iter'] == 4
    runner, losses = train(folder, 8, resume=True, experiment_name='resumed')
    assert list(losses) == [5, 6, 7, 8]
    after = torch.load(folder / 'work' / 'iter_8.pth', weights_only=True)
    assert after['meta']['iter'] == 8
    momentum = after['optimizer']['state'][0]['momentum_buffer']
    assert not torch.equal(momentum, before['optimizer']['state'][0]['momentum_buffer'])
    # The histories go on where the first run left them.
    history = runner.message_hub.get_scalar('train/loss').data[0]
    assert history.shape == (8,)
    np.testing.assert_array_equal(
        history[:4], trained[0].message_hub.get_scalar('train/loss').data[0][:4]
    )


def test_resumed_state(folder: Path, trained: tuple[Runner, Path]) -> None:
    runner = Runner.from_cfg(toy_config(folder, 8, experiment_name='resumed state'))
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.resume(str(trained[1]))
    assert runner.iter == 4
    saved = torch.load(trained[1], weights_only=True)
    state = runner.optim_wrapper.optimizer.state_dict()['state']
    assert state.keys() == saved['optimizer']['state'].keys()
    for index, entry in saved['optimizer']['state'].items():
        torch.testing.assert_close(state[index], entry, rtol=0, atol=0)
    torch.testing.assert_close(runner.model.state_dict(), saved['state_dict'], rtol=0, atol=0)


@pytest.mark.parametrize('tta', [False, True])
def test_testing(folder: Path, trained: tuple[Runner, Path], tta: bool) -> None:
    config = toy_config(
        folder, 4, experiment_name=f'tested {tta}', work_dir=str(folder / f'test_{tta}')
    )
    config.load_from = str(trained[1])
    forget_visualizers()
    if tta:
        config.test_dataloader.dataset.pipeline = config.tta_pipeline
        config.model = dict(**config.tta_model, module=config.model)
        config.default_hooks.visualization.draw = False
    metrics = Runner.from_cfg(config).test()
    assert {'aAcc', 'mIoU', 'mAcc'} <= metrics.keys()
    pictures = list((folder / f'test_{tta}').rglob('*.png'))
    assert len(pictures) == (0 if tta else 2)


def test_inference(folder: Path, trained: tuple[Runner, Path]) -> None:
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    image = next((folder / 'data' / 'leftImg8bit' / 'val').rglob('*.png'))
    config = toy_config(folder, 4)
    model = init_model(config, str(trained[1]), device='cpu')
    label = inference_model(model, str(image)).pred_sem_seg.data[0].numpy()
    assert label.shape == (64, 128)
    file = folder / 'dumped.py'
    config.dump(file)
    inferencer = MMSegInferencer(str(file), str(trained[1]), device='cpu')
    prediction = inferencer(str(image), out_dir=str(folder / 'out'))['predictions']
    np.testing.assert_array_equal(prediction, label)
    assert list((folder / 'out').rglob('*.png'))
