"""Mixed precision and distributed training on CPUs, which mmengine rules out."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any
from unittest import mock

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from torch import nn

from .patching import wrap


def mend_amp() -> bool:
    """Trains with AmpOptimWrapper (in bfloat16) on CPUs.

    mmengine 0.10.7 (onedl-mmengine 0.10.12) asserts an accelerator, `AmpOptimizerWrapper is only
    available training on gpu, npu, mlu or musa`, and would scale the loss with CUDA's GradScaler,
    which switches itself off without CUDA. Its autocast does support CPUs.
    """
    module: Any = import_module('mmengine.optim.optimizer.amp_optimizer_wrapper')
    asks_for_cuda = 'is_cuda_available' in module.AmpOptimWrapper.__init__.__code__.co_names
    if get_device() != 'cpu' or not asks_for_cuda:
        return False
    # The wrapper calls it for that assertion only.
    module.is_cuda_available = lambda: True
    module.GradScaler = functools.partial(torch.amp.GradScaler, 'cpu')
    return True


def _init_on_cpu(init: Callable[..., None], backend: str, *args: Any, **kwargs: Any) -> None:
    if get_device() != 'cpu':
        return init(backend, *args, **kwargs)
    if backend == 'nccl':
        print_log(
            "dist_cfg.backend='nccl' needs CUDA, which this machine lacks: using 'gloo'",
            logger='current',
            level=logging.WARNING,
        )
        backend = 'gloo'
    with mock.patch.object(torch.cuda, 'set_device'):
        return init(backend, *args, **kwargs)


def mend_distributed_start() -> bool:
    """Starts distributed training on CPUs.

    Every launcher of mmengine 0.10.7 (onedl-mmengine 0.10.12) calls `torch.cuda.set_device`:
    `AttributeError: module 'torch._C' has no attribute '_cuda_setDevice'`; and mmseg's
    default_runtime.py asks for the backend 'nccl'.
    """
    module = import_module('mmengine.dist.utils')
    for name in ('_init_dist_pytorch', '_init_dist_mpi', '_init_dist_slurm'):
        wrap(module, name, _init_on_cpu)
    return True


def _distribute_on_cpu(
    init: Callable[..., None],
    self: MMDistributedDataParallel,
    module: nn.Module,
    *args: Any,
    **kwargs: Any,
) -> None:
    if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
        kwargs.pop('device_ids', None)
        if any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules()):
            print_log(
                'SyncBN needs an accelerator: on CPUs it becomes BN, each process normalising by '
                'the statistics of its own batch',
                logger='current',
                level=logging.WARNING,
            )
            module = revert_sync_batchnorm(module)
    init(self, module, *args, **kwargs)


def mend_distributed_model() -> bool:
    """Wraps a model on CPUs for distributed training.

    `Runner.wrap_model` (mmengine 0.10.7, onedl-mmengine 0.10.12) always passes `device_ids`,
    which torch refuses for CPU modules, and keeps SyncBN, which torch has for accelerators only:
    `SyncBatchNorm expected input tensor to be on cuda …`. It becomes BN, as mmengine itself makes
    of it when training is not distributed.
    """
    wrap(MMDistributedDataParallel, '__init__', _distribute_on_cpu)
    return True
