"""Errors of a dataset's pipeline that do not say which file they are about."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..engine.explanations.dataset_faults import explain_orientation, explain_sizes
from ..engine.explanations.pipelines import explain_preparing
from ..errors import UsageError
from .patching import wrap


def _with_file(prepare: Callable[..., Any], dataset: Any, index: int) -> Any:
    try:
        return prepare(dataset, index)
    except UsageError:
        raise
    except Exception as error:
        if explained := explain_preparing(dataset, index, error):
            raise explained from error
        raise


def _with_size(transform: Callable[..., Any], step: Any, results: dict[str, Any]) -> Any:
    done = transform(step, results)
    file, label, shape = done['seg_map_path'], done['gt_seg_map'], done.get('ori_shape')
    if label.ndim != 2:
        # mmseg squeezes it.
        state = 'is 1 pixel high or wide' if label.ndim < 2 else 'has several channels'
        raise UsageError(
            f'{file}: expected a label of height × width class ids; it {state}, its array has '
            f'shape {label.shape}'
        )
    if shape is not None and tuple(shape[:2]) != label.shape:
        sizes = explain_sizes((shape[1], shape[0]), (label.shape[1], label.shape[0]))
        raise UsageError(
            f'{file}: the label has another size than {done.get("img_path", "its image")}: {sizes}'
            f'{explain_orientation(done.get("img_path"))}'
        )
    return done


def mend_nameless_errors() -> bool:
    """Lets an error of a dataset's pipeline name its file, and labels be of their image's size.

    mmcv's loading transforms (2.1.0, onedl-mmcv 2.3.6) hand the content of a file to OpenCV or
    Pillow, whose errors then speak of `<_io.BytesIO object at …>` or `!buf.empty()`; what
    resizes or crops next fails without a name, too. No transform compares a label's size with its
    image's: a larger one is cropped to another place.
    """
    base: Any = import_module('mmengine.dataset').BaseDataset
    loading: Any = import_module('mmseg.datasets.transforms').LoadAnnotations
    try:
        inspect.unwrap(loading.transform)(loading(), {'seg_map_path': os.devnull})
    except Exception as error:  # no image
        if os.devnull in str(error):
            return False
    wrap(base, 'prepare_data', _with_file)
    wrap(loading, 'transform', _with_size)
    return True
