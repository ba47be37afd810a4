"""The strides of a backbone's levels, and what heads are told of them in `ddf_cfg`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any


def scale_factors(strides: Sequence[int] | None, levels: int) -> list[int]:
    """The factors between neighbouring levels.

    Args:
        strides: the levels' strides, finest first; default: each twice the one before.
        levels: how many there are.

    Raises:
        ValueError: another number of strides, or one that is no multiple of the one before.
    """
    strides = [2**level for level in range(levels)] if strides is None else list(strides)
    if len(strides) != levels:
        raise ValueError(f'strides: expected {levels} values, got {strides}')
    if any(coarse % fine for fine, coarse in pairwise(strides)):
        raise ValueError(f'strides: expected each a multiple of the one before, got {strides}')
    return [coarse // fine for fine, coarse in pairwise(strides)]


def split_ddf_cfg(ddf_cfg: dict[str, Any] | None, levels: int) -> tuple[list[int], dict[str, Any]]:
    """Takes `strides` out of a ddf_cfg: the factors between the levels, and the layers' arguments.

    Raises:
        ValueError: see `scale_factors`.
    """
    layers = layer_arguments(ddf_cfg)
    return scale_factors(layers.pop('strides', None), levels), layers


def layer_arguments(ddf_cfg: dict[str, Any] | None) -> dict[str, Any]:
    """A ddf_cfg with its normalization: 'interpolation' unless it says another."""
    return {'normalization': 'interpolation', **(ddf_cfg or {})}


def starts_as_interpolation(layers: dict[str, Any]) -> bool:
    """Whether the layers of a ddf_cfg start as what they replace, rather than as the paper's."""
    return bool(layers['normalization'] == 'interpolation')
