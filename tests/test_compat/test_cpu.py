"""Training on CPUs: in mixed precision, and by two processes with a config for nccl and SyncBN."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import openmmlab_toy
import pytest
import torch
from mmengine.device import get_device
from mmengine.dist import utils as dist_utils
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from openmmlab_toy import toy_config, write_cityscapes
from plain_configs import leave_configs_plain
from processes import Started, free_port
from torch import distributed, nn

from ddf_seg._compat import cpu

pytestmark = pytest.mark.skipif(
    get_device() != 'cpu', reason=f'trains on {get_device()}, not on CPUs'
)


class Images(Hook):
    """Keeps the names of the images trained with."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.names += [Path(sample.img_path).name for sample in data_batch['data_samples']]


def train(folder: Path) -> None:
    """What each process runs."""
    leave_configs_plain()
    config = toy_config(folder, 3, launcher='pytorch', train_cfg__val_begin=100)
    assert config.env_cfg.dist_cfg.backend == 'nccl'
    assert config.norm_cfg.type == 'SyncBN'
    runner = Runner.from_cfg(config)
    images = Images()
    runner.register_hook(images)
    before = next(runner.model.parameters()).detach().clone()
    runner.train()
    assert isinstance(runner.model, MMDistributedDataParallel)
    module = runner.model.module
    result = {
        'parameters': {name: value.detach() for name, value in module.named_parameters()},
        'moved': not torch.equal(before, next(runner.model.parameters())),
        'images': images.names,
        'backend': distributed.get_backend(),
        'sync_bn': sum(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules()),
    }
    torch.save(result, folder / f'rank{runner.rank}.pth')


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / 'data', num_train=12)
    code = f'import test_cpu as test; test.train(test.Path({str(tmp_path)!r}))'
    environment = dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port(), WORLD_SIZE='2')
    with (
        Started(code, **environment, RANK='0', LOCAL_RANK='0') as one,
        Started(code, **environment, RANK='1', LOCAL_RANK='1') as other,
    ):
        done = [process.wait() for process in (one, other)]
    for result in done:
        assert result.returncode == 0, result.stderr
    said = done[0].stdout + done[0].stderr
    first, second = (torch.load(tmp_path / f'rank{rank}.pth') for rank in (0, 1))
    torch.testing.assert_close(first['parameters'], second['parameters'], rtol=0, atol=0)
    assert first['moved']
    assert first['backend'] == 'gloo'
    assert first['sync_bn'] == 0
    # 12 images, 2 processes, 3 batches of 2: each image is seen once, by one of them.
    assert len(set(first['images'] + second['images'])) == 12
    assert said.count("using 'gloo'") == 1
    assert said.count('it becomes BN') == 1


@pytest.fixture
def one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The environment of a launcher that started one process."""
    for name, value in {
        'RANK': '0',
        'LOCAL_RANK': '0',
        'WORLD_SIZE': '1',
        'MASTER_ADDR': '127.0.0.1',
        'MASTER_PORT': free_port(),
    }.items():
        monkeypatch.setenv(name, value)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


@pytest.mark.usefixtures('one_process')
def test_starting_fails_without_the_mend() -> None:
    start = inspect.unwrap(dist_utils._init_dist_pytorch)
    assert start is not dist_utils._init_dist_pytorch
    with pytest.raises(Exception, match=r'(?i)cuda'):
        start('gloo')
    dist_utils._init_dist_pytorch('nccl')
    assert distributed.get_backend() == 'gloo'


@pytest.mark.usefixtures('one_process')
def test_wrapping_fails_without_the_mend() -> None:
    distributed.init_process_group('gloo')
    wrap = inspect.unwrap(MMDistributedDataParallel.__init__)
    with pytest.raises(ValueError, match='device_ids'):
        wrap(object.__new__(MMDistributedDataParallel), nn.Linear(1, 1), device_ids=[0])

    norm = nn.Sequential(nn.SyncBatchNorm(2))
    with pytest.raises(ValueError, match='SyncBatchNorm expected input tensor to be on'):
        norm(torch.rand(2, 2, 3, 3))
    # As Runner.wrap_model calls it.
    model = MMDistributedDataParallel(module=norm, device_ids=[0])
    assert torch.isfinite(model.module(torch.rand(2, 2, 3, 3))).all()


def test_amp(tmp_path: Path) -> None:
    write_cityscapes(tmp_path / 'data')
    options = {'optim_wrapper__type': 'AmpOptimWrapper', 'optim_wrapper__loss_scale': 'dynamic'}
    runner, losses = openmmlab_toy.train(tmp_path, 4, **options)
    assert isinstance(runner.optim_wrapper, AmpOptimWrapper)
    assert runner.optim_wrapper.loss_scaler.is_enabled()
    assert len(losses) == 4
    assert all(map(math.isfinite, losses.values()))
    assert all(parameter.dtype == torch.float32 for parameter in runner.model.parameters())


def test_amp_computes_in_bfloat16() -> None:
    layer = nn.Linear(2, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(layer.parameters(), lr=1.0))
    before = layer.weight.detach().clone()
    with wrapper.optim_context(layer):
        output = layer(torch.ones(1, 2))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    torch.testing.assert_close(layer.weight, before - 1)


def test_amp_fails_without_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    if not cpu.mend_amp():
        pytest.skip('this mmengine trains with AmpOptimWrapper on CPUs')
    from mmengine.device import is_cuda_available

    module = inspect.getmodule(AmpOptimWrapper)
    monkeypatch.setattr(module, 'is_cuda_available', is_cuda_available)
    with pytest.raises(AssertionError, match='only available training on gpu'):
        AmpOptimWrapper(optimizer=torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))
