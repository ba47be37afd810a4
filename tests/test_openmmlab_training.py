"""Training, resuming, testing and inference with mmseg's own parts on this machine's versions."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from openmmlab_toy import forget_visualizers, toy_config, write_cityscapes
from torch import nn
from torch.utils.data import Dataset

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg._compat import cpu, resuming

on_cpu = pytest.mark.skipif(get_device() != 'cpu', reason=f'trains on {get_device()}, not on CPUs')


class LossLog(Hook):
    """Keeps the loss of every iteration."""

    def __init__(self) -> None:
        self.losses: dict[int, float] = {}

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses[runner.iter + 1] = outputs['loss'].item()


def train(folder: Path, max_iters: int, **options: object) -> tuple[Runner, dict[int, float]]:
    runner = Runner.from_cfg(toy_config(folder, max_iters, **options))
    log = LossLog()
    runner.register_hook(log)
    runner.train()
    return runner, log.losses


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


@on_cpu
def test_amp(folder: Path, tmp_path: Path) -> None:
    (tmp_path / 'data').symlink_to(folder / 'data')
    runner, losses = train(
        tmp_path, 4, optim_wrapper__type='AmpOptimWrapper', optim_wrapper__loss_scale='dynamic'
    )
    assert isinstance(runner.optim_wrapper, AmpOptimWrapper)
    assert runner.optim_wrapper.loss_scaler.is_enabled()
    assert len(losses) == 4
    assert all(map(math.isfinite, losses.values()))
    assert all(parameter.dtype == torch.float32 for parameter in runner.model.parameters())


@on_cpu
def test_amp_computes_in_bfloat16() -> None:
    layer = nn.Linear(2, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=1.0))
    before = layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 2))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    torch.testing.assert_close(layer.weight, before - 1)


@on_cpu
def test_amp_fails_without_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    if not cpu.mend_amp():
        pytest.skip('this mmengine trains with AmpOptimWrapper on CPUs')
    from mmengine.device import is_cuda_available

    module = inspect.getmodule(AmpOptimWrapper)
    monkeypatch.setattr(module, 'is_cuda_available', is_cuda_available)
    with pytest.raises(AssertionError, match='only available training on gpu'):
        AmpOptimWrapper(optimizer=torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))


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


class Numbers(Dataset):
    """Item i is the number i; remembers what was loaded."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.loaded.append(index)
        return {'inputs': torch.tensor([float(index)])}


class Recorder(BaseModel):
    """Remembers the batches that it was trained with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.batches: list[list[float]] = []

    def forward(self, inputs: list[torch.Tensor], mode: str) -> dict[str, torch.Tensor]:
        self.batches.append(torch.cat(inputs).tolist())
        return {'loss': self.layer(torch.stack(inputs)).sum()}


def train_numbers(folder: Path, max_iters: int, resume: bool, num_workers: int) -> Runner:
    runner = Runner(
        model=Recorder(),
        work_dir=str(folder),
        train_dataloader={
            'dataset': Numbers(),
            'batch_size': 2,
            'num_workers': num_workers,
            'persistent_workers': num_workers > 0,
            'sampler': {'type': 'InfiniteSampler', 'shuffle': True},
        },
        train_cfg={'by_epoch': False, 'max_iters': max_iters},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-3}},
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 6}},
        randomness={'seed': 7},
        resume=resume,
        default_scope='mmengine',
        experiment_name=f'numbers {folder} {max_iters} {resume}',
    )
    runner.train()
    return runner


@pytest.mark.parametrize('num_workers', [0, 1])
def test_resume_goes_on_in_the_data(tmp_path: Path, num_workers: int) -> None:
    whole = train_numbers(tmp_path / 'whole', 9, False, num_workers).model.batches
    train_numbers(tmp_path / 'parts', 6, False, num_workers)
    runner = train_numbers(tmp_path / 'parts', 9, True, num_workers)
    assert runner.model.batches == whole[6:]
    if num_workers == 0:
        assert runner.train_dataloader.dataset.loaded == [int(x) for b in whole[6:] for x in b]


def test_resume_replays_without_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not resuming.mend_replay():
        assert hasattr(InfiniteSampler, 'skip')
        pytest.skip('this mmengine skips indices itself')
    monkeypatch.setattr(IterBasedTrainLoop, 'run', inspect.unwrap(IterBasedTrainLoop.run))
    train_numbers(tmp_path, 6, False, 0)
    runner = train_numbers(tmp_path, 9, True, 0)
    assert len(runner.train_dataloader.dataset.loaded) == 18
