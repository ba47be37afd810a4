"""The two forms of DDF heads and necks, and what the tests of both share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from ddf_seg.layers import DDFUpPack, GatedDDF
from ddf_seg.layers.guided_branch import GuidedBranch

Output = TypeVar('Output')

# The paper's filters; without it, filters that start as what they replace.
PAPER: dict[str, Any] = dict(normalization='filter_norm')
both_forms = pytest.mark.parametrize('form', [{}, PAPER], ids=['default', 'paper'])


def starts_as_its_parent(module: nn.Module) -> bool:
    return any(isinstance(layer, (GatedDDF, GuidedBranch)) for layer in module.modules())


@torch.no_grad()
def with_and_without_filters(module: nn.Module, run: Callable[[], Output]) -> tuple[Output, Output]:
    """What `run` gives where the filters of a fresh module count, and where they do not.

    The default's count nothing as they are built. The paper's channel filters are set to 0, and
    DDF-Up with them.
    """
    if not starts_as_its_parent(module):
        with_filters = run()
        for layer in module.modules():
            if isinstance(layer, DDFUpPack):
                nn.init.zeros_(layer.channel_branch[-1].std)
        return with_filters, run()
    without_filters = run()
    for layer in module.modules():
        if isinstance(layer, GatedDDF):
            nn.init.ones_(layer.factor)
        elif isinstance(layer, GuidedBranch):
            nn.init.normal_(layer.guide.weight)
    return run(), without_filters


def without_gradient(module: nn.Module, loss: Callable[[], Tensor]) -> list[str]:
    """The parameters that no gradient reaches.

    By default, keys and filters get none while the queries and factors that they are multiplied by
    are 0. These have left 0 after a step.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    if starts_as_its_parent(module):
        loss().backward()
        optimizer.step()
    optimizer.zero_grad()
    loss().backward()
    return [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
