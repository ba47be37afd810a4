"""What a built model says of itself."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmseg.models import SegDataPreProcessor
from torch import nn


def unwrapped(model: Any) -> Any:
    """A segmentor without what distributed training or test-time augmentation puts around it."""
    while is_model_wrapper(model) or (
        not hasattr(model, 'decode_head') and hasattr(model, 'module')
    ):
        model = model.module
    return model


def label_range(model: nn.Module) -> tuple[int | None, int]:
    """The number of classes of a segmentor and the id its loss ignores.

    Returns:
        None as the number where no head tells it (a model that is no segmentor), and 255 as the
        ignored id where none is set.
    """
    head = getattr(unwrapped(model), 'decode_head', None)
    if isinstance(head, nn.ModuleList):
        head = head[-1]
    return getattr(head, 'num_classes', None), ignored_id(getattr(head, 'ignore_index', None))


def ignored_id(ignore_index: int | None) -> int:
    """The id that a loss ignores, by what its head says."""
    return 255 if ignore_index is None else ignore_index


def padding_of(model: Any) -> SegDataPreProcessor | None:
    """The data preprocessor of a segmentor, if it pads the images and labels of a batch."""
    preprocessor = getattr(unwrapped(model), 'data_preprocessor', None)
    if isinstance(preprocessor, SegDataPreProcessor) and (
        preprocessor.size or preprocessor.size_divisor
    ):
        return preprocessor
    return None
