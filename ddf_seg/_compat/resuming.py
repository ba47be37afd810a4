"""Loading and resuming mmengine's checkpoints."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib import import_module
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmengine.logging import HistoryBuffer
from torch.utils.data import BatchSampler

from .patching import wrap

_STATISTICS = ('min', 'max', 'current', 'mean')


def history_statistic(owner: object, name: str) -> Any:
    """What a pickled HistoryBuffer needs of `getattr`: its four statistics, nothing else.

    Raises:
        pickle.UnpicklingError: for any other object or name.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(
            f'a checkpoint may look up {", ".join(_STATISTICS)} of HistoryBuffer only, '
            f'got {name!r} of {owner!r}'
        )
    return getattr(HistoryBuffer, name)


def mend_loading() -> bool:
    """Lets torch load the training state that mmengine saves, without trusting the file.

    torch 2.6 made `weights_only=True` the default of `torch.load`, and mmengine 0.10.7 saves
    HistoryBuffers of numpy arrays, and scores as numpy scalars: `UnpicklingError: Weights only
    load failed … Unsupported global: GLOBAL mmengine.logging.history_buffer.HistoryBuffer`. The
    buffer's table of its own methods is pickled as calls of `builtins.getattr`; the real one
    would open the door to any code, so a restricted one is registered under that name.
    """
    reconstruct = np.empty(0).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    dtypes = {type(np.dtype(code)) for code in '?bBhHiIlLqQefd'}
    trusted: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, *dtypes]
    trusted.append((history_statistic, 'builtins.getattr'))
    # numpy 2 renamed the module: a file says what its writer's numpy was called.
    for module in ('numpy._core.multiarray', 'numpy.core.multiarray'):
        trusted.append((reconstruct, f'{module}._reconstruct'))
        trusted.append((scalar, f'{module}.scalar'))
    torch.serialization.add_safe_globals(trusted)
    return True


def load_safely(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """`torch.load` that never runs code of the file, whatever the caller asks."""
    return torch.load(file, map_location=map_location, weights_only=True)


def mend_unsafe_loading() -> bool:
    """Refuses what `weights_only=True` refuses.

    onedl-mmengine 0.10.12 trusts the real `getattr`, and loads any file that torch refuses a
    second time with `weights_only=False`, which runs whatever code it holds.
    """
    module: Any = import_module('mmengine.runner.checkpoint')
    if not hasattr(module, '_safe_torch_load'):
        return False
    module._safe_torch_load = load_safely
    return True


def _fast_forward(run: Callable[[Any], Any], loop: Any) -> Any:
    loader = loop.dataloader
    if (
        loop.iter > 0
        and type(loader.sampler) is InfiniteSampler
        and type(loader.batch_sampler) is BatchSampler
    ):
        sampler = loader.sampler
        sampler.indices = islice(sampler._indices_of_rank(), loop.iter * loader.batch_size, None)
        # The loop draws as many batches as it has trained, and throws them away.
        loop.dataloader_iterator = chain(repeat(None, loop.iter), loop.dataloader_iterator)
    return run(loop)


def _start_late(init: Callable[..., None], self: Any, dataloader: Any) -> None:
    init(self, ())
    self._dataloader = dataloader
    # Asks the loader for its batches, and so starts its workers, when the first one is drawn.
    self._iterator = chain.from_iterable([dataloader])


def mend_replay() -> bool:
    """Resumes without loading every image of the iterations done before.

    IterBasedTrainLoop (mmengine 0.10.7) advances the data by loading all batches that were trained
    already; skipping their indices leads to the same batches in no time. It starts the workers
    before a hook could say where they start. Later versions start them with the first batch, and
    give InfiniteSampler a `skip`.
    """
    if hasattr(InfiniteSampler, 'skip'):
        return False
    loops = import_module('mmengine.runner.loops')
    wrap(loops.IterBasedTrainLoop, 'run', _fast_forward)
    wrap(loops._InfiniteDataloaderIterator, '__init__', _start_late)
    return True
