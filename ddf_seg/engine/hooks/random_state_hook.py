"""Random numbers that go on after a resume where they stopped."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import DataLoader, get_worker_info

KEY = 'random_state'


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Makes a training that was killed and resumed equal, bit by bit, to one that was not.

    Checkpoints get the state of the random numbers (Python's, numpy's, torch's and CUDA's), which
    decides on dropout and stochastic depth, and without data workers on augmentation. Data workers
    seed theirs anew for each batch, from the run's seed and the batch's number: there is nothing to
    save, and another number of workers augments alike. Validation, which a resumed run may not
    repeat, leaves all of them as they were.

    Runs are equal on one CPU or GPU with the same number of threads, with deterministic operators
    (mmengine's `randomness.deterministic`) and mmengine's InfiniteSampler, which all configs here
    and in mmseg use. These runs are sound, but not equal: runs of several processes (only the first
    one's state is in a checkpoint, the others' are seeded anew by seed, rank and iteration), other
    samplers in a loop by iterations, several persistent workers in a loop by epochs whose batches
    they do not share evenly, and what was changed between the runs.
    """

    # Other hooks may draw random numbers before.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None
        self._before_validation: dict[str, Any] | None = None
        self._seeds: BatchSeeds | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if not runner._resume:
            return
        self._loaded = checkpoint.get(KEY)
        if self._loaded is None:
            runner.logger.warning(
                'The checkpoint holds no random state: random numbers start anew from the seed'
            )

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if self._seeds is None and isinstance(loader, DataLoader):
            if loader.generator is None:
                # Or to start an iterator draws a number of those that are to go on.
                loader.generator = torch.Generator()
            if loader.num_workers > 0:
                self._seeds = BatchSeeds(loader, runner.seed)
        if self._loaded is not None:
            if get_rank() == 0:
                set_random_state(self._loaded)
            else:
                _seed(runner.seed, get_rank(), runner.iter)
            self._loaded = None

    def before_train_epoch(self, runner: Runner) -> None:
        if self._seeds is not None:
            # Other samplers than this one are replayed from the beginning, with their batches.
            by_iterations = isinstance(runner.train_loop, IterBasedTrainLoop)
            skips = isinstance(runner.train_dataloader.sampler, InfiniteSampler)
            self._seeds.first = 0 if by_iterations and not skips else runner.iter

    def before_val(self, runner: Runner) -> None:
        self._before_validation = get_random_state()

    def after_val(self, runner: Runner) -> None:
        if self._before_validation is not None:
            set_random_state(self._before_validation)
            self._before_validation = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        checkpoint[KEY] = self._before_validation or get_random_state()


class BatchSeeds:
    """Seeds a data worker's random numbers for each batch by its number in the training.

    Args:
        loader: gets its workers seeded so, as far as they start later.
        seed: of the run.

    Attributes:
        first: the number of the first batch that new workers load.
    """

    def __init__(self, loader: DataLoader, seed: int) -> None:
        self.first = 0
        self._seed = (seed, get_rank())
        self._collate, self._init = loader.collate_fn, loader.worker_init_fn
        loader.collate_fn, loader.worker_init_fn = self.collate, self.start

    def start(self, worker: int) -> None:
        """As a DataLoader's `worker_init_fn`."""
        if self._init is not None:
            self._init(worker)
        self._batch = self.first + worker
        _seed(*self._seed, self._batch)

    def collate(self, samples: Any) -> Any:
        """As a DataLoader's `collate_fn`, the last thing that a worker does for a batch."""
        batch = self._collate(samples)
        info = get_worker_info()
        # A DataLoader hands batches to its workers in turn.
        self._batch += 1 if info is None else info.num_workers
        _seed(*self._seed, self._batch)
        return batch


def _seed(*key: int) -> None:
    """Seeds Python's, numpy's and torch's random numbers by some numbers, all of which count."""
    words = np.random.SeedSequence(key).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(words[1])  # noqa: NPY002  (what augmentations draw from)
    torch.manual_seed(int(words[2]))


def get_random_state() -> dict[str, Any]:
    """The state of all random numbers of this process, as plain numbers and tensors.

    A file that holds it loads with `weights_only=True`.
    """
    numpy: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    generator = {**numpy['state'], 'key': torch.from_numpy(numpy['state']['key'].astype(np.int64))}
    state = {
        'python': random.getstate(),
        'numpy': {**numpy, 'state': generator},
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Puts back what `get_random_state` returned; CUDA's where there are as many devices."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words), gauss))
    generator = state['numpy']['state']
    key = generator['key'].cpu().numpy().astype(np.uint32)
    numpy = {**state['numpy'], 'state': {**generator, 'key': key}}
    np.random.set_state(numpy)  # noqa: NPY002
    torch.set_rng_state(state['torch'].cpu())
    devices = state.get('cuda', [])
    if devices and torch.cuda.is_available() and torch.cuda.device_count() == len(devices):
        torch.cuda.set_rng_state_all([device.cpu() for device in devices])
