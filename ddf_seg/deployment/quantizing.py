"""int8: which images calibrate it, and what of a network becomes whole numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ..engine.images import IMAGES
from ..engine.images.pictures import read_picture
from ..engine.predicting.inputs import find_inputs
from ..errors import UsageError, in_a_line
from .network import Interface

# More images hardly move the ranges.
_IMAGES = 100
_WHOLE_NUMBERS = ('Convolution', 'GroupConvolution')


def calibration_images(
    cfg: Config,
    folder: Path | None,
    size: tuple[int, int] | None,
    count: int,
    interface: Interface,
) -> list[np.ndarray]:
    """What the network is shown, as its file takes it.

    Args:
        cfg: its training set is used where no folder is given, as the files are, not augmented.
        folder: images, and folders of them.
        size: height and width that images are resized to; None: each stays at its own.
        count: images in a batch; they are all the same one.
        interface: layout and colours.

    Raises:
        UsageError: there are no images, or one cannot be read.
    """
    files = _of_dataset(cfg) if folder is None else list(find_inputs([folder], IMAGES).names)
    # Of a long list as many from its end as from its start: its order may be that of places.
    kept = min(len(files), _IMAGES)
    images = []
    for file in (files[i * len(files) // kept] for i in range(kept)):
        try:
            image = read_picture(file)
        except Exception as error:
            raise UsageError(f'--calibration: {file}: {in_a_line(error)}') from error
        if size is not None:
            image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
        if interface.colours == 'rgb':
            image = image[..., ::-1]
        if interface.layout == 'nchw':
            image = image.transpose(2, 0, 1)
        images.append(np.ascontiguousarray(np.stack([image] * count)))
    return images


def _of_dataset(cfg: Config) -> list[Path]:
    wants = '--precision int8 calibrates with images: give a folder of them by --calibration'
    if cfg.get('train_dataloader') is None:
        raise UsageError(f'{wants}; the config has no train_dataloader to take them from')
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    try:
        dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
        count = len(dataset)
        files = [Path(dataset.get_data_info(i)['img_path']) for i in range(count)]
    except Exception as error:
        raise UsageError(
            f"{wants}; the config's training set cannot be read: {in_a_line(error)}"
        ) from error
    if not files:
        raise UsageError(f"{wants}; the config's training set is empty")
    return files


def quantize(model: Any, images: Sequence[np.ndarray]) -> Any:
    """A model of OpenVINO's whose convolutions compute in int8.

    All else stays in float32: what filters become of logits, and the filters' sums over taps.
    """
    import nncf

    level = nncf.common.logging.logger.nncf_logger.level
    nncf.set_log_level(logging.ERROR)
    try:
        kinds = {node.get_type_name() for node in model.get_ops()}
        kept = nncf.IgnoredScope(types=sorted(kinds - set(_WHOLE_NUMBERS)), validate=False)
        return nncf.quantize(
            model, nncf.Dataset(list(images)), subset_size=len(images), ignored_scope=kept
        )
    finally:
        nncf.set_log_level(level)
