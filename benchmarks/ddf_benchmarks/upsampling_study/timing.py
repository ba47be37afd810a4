"""Time of the whole networks for an image, all rows in turns."""

from __future__ import annotations

import functools
from typing import Any

import torch
from mmengine.registry import init_default_scope
from mmseg.models import BaseSegmentor
from torch import Tensor

from ddf_seg.swap.probe import build, without_pretrained

from ..measure import Settings, machine, side_by_side
from .runs import IMAGE, row_config


def time_rows(rows: list[str], seconds: float, size: tuple[int, int] = IMAGE) -> dict[str, Any]:
    """Median milliseconds from a normalised image to its class scores, at the image's size.

    Args:
        rows: names of configs of the study.
        seconds: how long to measure.
        size: height and width of the image.
    """
    init_default_scope('mmseg')
    image = torch.randn(1, 3, *size)
    models = {row: build(without_pretrained(row_config(row).model.to_dict())) for row in rows}
    settings = Settings(torch.device('cpu'), seconds, torch.get_num_threads())
    runs = {row: functools.partial(_scores, model, image) for row, model in models.items()}
    times = side_by_side(settings, runs)
    return dict(
        machine=machine(settings.device),
        threads=settings.threads,
        torch=torch.__version__,
        size=list(size),
        milliseconds={row: round(time * 1e3, 2) for row, time in times.items()},
    )


@torch.no_grad()
def _scores(model: BaseSegmentor, image: Tensor) -> Tensor:
    size = tuple(image.shape[2:])
    meta = dict(ori_shape=size, img_shape=size, pad_shape=size)
    scores: Tensor = model.encode_decode(image, [meta])
    return scores
