"""What a segmentor costs."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmseg.models import BaseSegmentor

from ..engine import flops  # noqa: F401 (has mmengine count the operators)
from ..errors import UsageError
from ..swap.probe import build, for_size, without_pretrained


def complexity(model_cfg: dict[str, Any], shape: tuple[int, int]) -> tuple[int, int]:
    """Multiply-adds and parameters of a segmentor at test time: without auxiliary heads.

    Args:
        model_cfg: its config.
        shape: height and width of the image.

    Raises:
        UsageError: the model is no segmentor, or does not run on a bare image.
    """
    model_cfg = for_size(without_pretrained(model_cfg), shape)
    model_cfg['auxiliary_head'] = None
    model = build(model_cfg)
    if not isinstance(model, BaseSegmentor):
        raise UsageError(f'expected a segmentor, got a {type(model).__name__}')
    x = torch.rand(1, 3, *shape)
    try:
        info = get_model_complexity_info(model, inputs=(x,), show_table=False, show_arch=False)
    except (TypeError, KeyError, RuntimeError, NotImplementedError) as error:
        raise UsageError(
            'the model does not run on a bare image, without the data that come '
            f'with it ({type(error).__name__}: {error})'
        ) from error
    return int(info['flops']), int(info['params'])
