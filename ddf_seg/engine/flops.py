"""The operators' cost for mmengine's complexity analysis (torch's counter: ops/registration.py)."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.analysis import complexity_analysis, jit_analysis
from mmengine.analysis.jit_handles import generic_activation_jit, get_shape

from ..ops import depthwise_pointwise, interpolation_softmax
from ..ops.affinity import multiply_adds as affinity_multiply_adds
from ..ops.registration import multiply_adds


def _multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    # The trace holds the kernel size as an operation on two constants.
    kernel = [value.toIValue() for value in inputs[3].node().inputs()]
    has_both = not any(isinstance(f.type(), torch.NoneType) for f in inputs[1:3])
    return multiply_adds(math.prod(get_shape(outputs[0])), kernel, has_both)


for _name in ('ddf_seg::ddf', 'ddf_seg::ddf_upsample'):
    # The module offers no way to extend its defaults for analyses that others start.
    complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS[_name] = _multiply_adds
    complexity_analysis._DEFAULT_SUPPORTED_ACT_OPS[_name] = generic_activation_jit('ddf')


def _affinity_multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    # As many taps as the result has channels
    return affinity_multiply_adds(math.prod(get_shape(inputs[0])), (get_shape(outputs[0])[1], 1))


complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS['ddf_seg::affinity'] = _affinity_multiply_adds
complexity_analysis._DEFAULT_SUPPORTED_ACT_OPS['ddf_seg::affinity'] = generic_activation_jit('conv')


def _products_multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    # What the softmax takes besides is work per element.
    query, rows = get_shape(inputs[1]), get_shape(inputs[3])
    return interpolation_softmax.multiply_adds(query, rows[1]) if query else 0


_name = 'ddf_seg::interpolation_softmax'
complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS[_name] = _products_multiply_adds
complexity_analysis._DEFAULT_SUPPORTED_ACT_OPS[_name] = generic_activation_jit('conv')


def _shape_of(value: Any) -> list[int] | None:
    return None if isinstance(value.type(), torch.NoneType) else get_shape(value)


def _branch_multiply_adds(inputs: list[Any], outputs: list[Any]) -> int:
    return depthwise_pointwise.multiply_adds(*(_shape_of(i) for i in inputs[:3]))


_name = 'ddf_seg::depthwise_pointwise'
complexity_analysis._DEFAULT_SUPPORTED_FLOP_OPS[_name] = _branch_multiply_adds
complexity_analysis._DEFAULT_SUPPORTED_ACT_OPS[_name] = generic_activation_jit('conv')


# Work per element, which mmengine does not count for others either.
jit_analysis._IGNORED_OPS.update({'ddf_seg::filter_norm', 'ddf_seg::weight_gain'})
