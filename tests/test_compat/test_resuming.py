"""Checkpoints as torch and mmengine load them, and data that a resumed run goes on in."""

from __future__ import annotations

import inspect
import io
import os
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from processes import run_ok
from torch import nn
from torch.utils.data import Dataset

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg._compat import resuming


def saved(value: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return file


class Call:
    """Pickled as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call

    def __call__(self) -> None:
        """pickle wants functions to be callable."""


def history() -> HistoryBuffer:
    buffer = HistoryBuffer([1.0, 2.5], [1, 2])
    # As the runner keeps it: with the table of statistics in the instance.
    buffer._statistics_methods = dict(HistoryBuffer._statistics_methods)
    return buffer


def test_loading_training_state() -> None:
    state = {
        'history': history(),
        'best': np.float64(61.5),
        'scores': [np.float32(1), np.int64(2), np.bool_(True)],
        'palette': np.arange(6, dtype=np.uint8).reshape(2, 3),
    }
    trusted = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with pytest.raises(Exception, match=r'HistoryBuffer|numpy'):
            torch.load(saved(state))
    finally:
        torch.serialization.add_safe_globals(trusted)
    loaded = torch.load(saved(state), weights_only=True)
    assert loaded['history'].mean() == state['history'].mean()
    assert loaded['history'].statistics('max') == 2.5
    assert loaded['best'] == 61.5
    assert loaded['scores'] == state['scores']
    np.testing.assert_array_equal(loaded['palette'], state['palette'])


def test_loading_what_numpy_1_wrote() -> None:
    file = io.BytesIO()
    # The legacy format holds the pickle itself, whose names end with a line: free to be renamed.
    torch.save({'history': history()}, file, _use_new_zipfile_serialization=False)
    old = file.getvalue().replace(b'cnumpy._core.multiarray\n', b'cnumpy.core.multiarray\n')
    assert old != file.getvalue()
    assert torch.load(io.BytesIO(old), weights_only=True)['history'].current() == 2.5


@pytest.mark.parametrize(
    'payload',
    [
        Call(getattr, HistoryBuffer, '__init__'),
        Call(getattr, HistoryBuffer, '_statistics_methods'),
        Call(getattr, np.ndarray, 'tofile'),
        Call(getattr, torch.Tensor, '__reduce_ex__'),
        Call(getattr, Call(getattr, HistoryBuffer, 'mean'), '__globals__'),
        Call(Call(getattr, HistoryBuffer, 'mean'), history()),
        Call(os.system, 'true'),
        Call(eval, '1'),
    ],
)
def test_malicious_checkpoints_are_refused(payload: Call) -> None:
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(saved(payload))


def test_getattr_is_not_the_real_one() -> None:
    loaded = torch.load(saved(Call(getattr, HistoryBuffer, 'mean')))
    assert loaded is HistoryBuffer.mean
    user_globals = torch._weights_only_unpickler._get_user_allowed_globals()
    assert user_globals['builtins.getattr'] is resuming.history_statistic


def test_mmengine_never_runs_code_of_a_checkpoint(tmp_path: Path) -> None:
    marker = tmp_path / 'marker'
    file = tmp_path / 'evil.pth'
    torch.save(Call(os.mkdir, str(marker)), file)
    with pytest.raises(Exception, match='Weights only load failed'):
        mmengine_checkpoint.load_checkpoint(torch.nn.Linear(1, 1), str(file), map_location='cpu')
    assert not marker.exists()
    if not resuming.mend_unsafe_loading():
        pytest.skip(f'mmengine {mmengine.__version__} loads safely (checked), no mend to compare')
    run_ok(f"""
        from mmengine.runner.checkpoint import load_from_local
        load_from_local({str(file)!r}, 'cpu')
        print(0)
    """)
    assert marker.exists()


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
