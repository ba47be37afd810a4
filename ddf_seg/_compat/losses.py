"""Losses of mmseg that fail on labels which every road-scene dataset has."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .patching import wrap


def _average_over_kept(
    cross_entropy: Callable[..., Tensor],
    pred: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    class_weight: Tensor | None = None,
    reduction: str = 'mean',
    avg_factor: Any = None,
    ignore_index: int = -100,
    **kwargs: Any,
) -> Tensor:
    if class_weight is not None and reduction == 'mean' and avg_factor is None:
        avg_factor = class_weight[label[label != ignore_index]].sum()
    return cross_entropy(
        pred, label, weight, class_weight, reduction, avg_factor, ignore_index, **kwargs
    )


def mend_class_weight() -> bool:
    """Lets CrossEntropyLoss take class weights together with ignored pixels.

    mmseg 1.2.2 looks up the weight of every label, the ignored 255 included (`IndexError: index
    255 is out of bounds`); onedl-mmsegmentation 1.4.2 leaves those out, but then applies a mask
    of the wrong shape if `avg_non_ignore` is set.
    """
    module: Any = import_module('mmseg.models.losses.cross_entropy_loss')
    scores, label = torch.zeros(1, 1, 2), torch.tensor([[0, 255]])
    try:
        module.cross_entropy(
            scores, label, class_weight=torch.ones(1), ignore_index=255, avg_non_ignore=True
        )
    except IndexError:
        wrap(module, 'cross_entropy', _average_over_kept)
        return True
    return False
