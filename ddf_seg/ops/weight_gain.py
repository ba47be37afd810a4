"""How strong the weights are that FilterNorm's input comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from .checks import check_kinds
from .definition import Arguments, call, define, operator

_LEAST = 1e-12


def weight_gain(weight: Tensor, after: Tensor | None = None) -> Tensor:
    """Deviation that weights give to independent inputs of deviation 1, at most 1; no gradient.

    min(‖W‖ / √outputs, 1), and of a layer and the one after it the product. FilterNorm makes its
    input's scale irrelevant, so nothing but weight decay acts on the norm of these weights.
    Counting FilterNorm's eps in units of this gain keeps the invariance exact.

    Args:
        weight: (outputs, …) with at least one output, float64, float32, float16 or bfloat16.
        after: alike, of the layer after it.

    Returns:
        One float32 number, at least 1e-12 for each weight.

    Raises:
        RuntimeError, ValueError, TypeError: an argument does not fit; the message names it.
    """
    weights = (weight.detach(), None if after is None else after.detach())
    # On the CPU torch's own functions are faster than an operator in Python. Inductor makes one
    # kernel of them and of FilterNorm.
    if weight.is_cpu or torch.compiler.is_compiling():
        return _plain(*weights)
    gain: Tensor = call(operator('weight_gain'), *weights)
    return gain


def _of_one(weight: Tensor) -> Tensor:
    wide = torch.promote_types(weight.dtype, torch.float32)
    norm = torch.linalg.vector_norm(weight, dtype=wide).float()
    return (norm * weight.shape[0] ** -0.5).clamp(_LEAST, 1.0)


def _plain(weight: Tensor, after: Tensor | None) -> Tensor:
    gain = _of_one(weight)
    return gain if after is None else gain * _of_one(after)


def _fake(weight: Tensor, _: Tensor | None) -> Tensor:
    return weight.new_empty((), dtype=torch.float32)


def check_weights(weight: Tensor, after: Tensor | None) -> None:
    """Checks the arguments of `weight_gain`.

    Raises:
        TypeError: an unsupported or another dtype.
        ValueError: everything else; the message names the argument, what was expected and found.
    """
    named = [('weight', weight), *([] if after is None else [('after', after)])]
    check_kinds(named)
    for name, x in named:
        if x.dim() == 0 or x.shape[0] == 0:
            raise ValueError(f'{name}: expected at least one output, got shape {tuple(x.shape)}')


class _NoDerivatives:
    @staticmethod
    def _refuse() -> NoReturn:
        raise NotImplementedError('weight, after: expected weights without gradient (detach them)')

    def gradients(
        self, arguments: Arguments, upstream: Sequence[Tensor | None], needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        self._refuse()

    def tangents(self, arguments: Arguments, tangents: Sequence[Tensor | None]) -> Any:
        self._refuse()


define(
    'weight_gain',
    '(Tensor weight, Tensor? after) -> Tensor',
    plain=_plain,
    fake=_fake,
    derivatives=_NoDerivatives(),
    check=check_weights,
    batched=(),
    compiled_for=('cuda',),
)
