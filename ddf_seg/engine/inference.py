"""A network as a config and a checkpoint describe it, ready to be run on images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmseg.apis import init_model
from mmseg.registry import DATASETS

from .checkpoints import check_fit
from .config_walk import walk
from .errors import UsageError
from .pretrained import check_weights
from .tools import explained


def check_device(name: str) -> None:
    """Make sure that torch can use a device.

    Raises:
        UsageError: If it cannot.
    """
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition('\n')[0]
        raise UsageError(f'--device {name} is not available: {reason}. Try --device cpu') from error


def load_model(cfg: Config, checkpoint: str, device: str) -> tuple[Any, dict[str, Any]]:
    """The segmentor of a config with a checkpoint's weights, and the checkpoint's `meta`.

    Args:
        cfg: The config; gets a `test_pipeline` if it has none.
        checkpoint: File or URL.
        device: For the segmentor.

    Raises:
        UsageError: If the checkpoint is missing, damaged or of another model, or if the model
            cannot be built.
    """
    source = check_weights(checkpoint, 'CHECKPOINT')
    if 'test_pipeline' not in cfg:
        cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    with explained(cfg):
        model = init_model(cfg, device=device)
    loaded = load_checkpoint(model, source, map_location='cpu')
    check_fit(model, loaded, checkpoint)
    return model, loaded.get('meta', {})


@dataclass
class Classes:
    """The classes of a segmentor.

    Attributes:
        names: One a class.
        palette: Their colours, (classes, 3) uint8, RGB.
        note: What a user should know where names or colours had to be made up; otherwise empty.
    """

    names: list[str]
    palette: np.ndarray
    note: str = ''


def find_classes(meta: dict[str, Any], cfg: Config, number: int) -> Classes:
    """Names and colours of the classes: of the checkpoint, else of the config's dataset.

    Args:
        meta: The checkpoint's `meta`.
        cfg: The config.
        number: How many classes the segmentor has.
    """
    sources = {'checkpoint': meta.get('dataset_meta') or {}}
    # Before mmseg 1.0
    if 'CLASSES' in meta:
        sources['checkpoint'] = {'classes': meta['CLASSES'], 'palette': meta.get('PALETTE')}
    for _, node in walk(cfg.get('test_dataloader')):
        if 'data_prefix' in node or 'data_root' in node:
            dataset = DATASETS.get(node['type'])
            known = getattr(dataset, 'METAINFO', {})
            sources.setdefault('config', {**known, **(node.get('metainfo') or {})})
    found = [source for source in sources.values() if len(source.get('classes') or ()) == number]
    return make_classes(found[0] if found else {}, number)


def make_classes(meta: dict[str, Any], number: int) -> Classes:
    """The classes that a dataset's metainfo names; numbers and made-up colours where it does not.

    Args:
        meta: `classes` and `palette`, if known.
        number: How many classes there are.
    """
    note = ''
    if len(meta.get('classes') or ()) != number:
        meta = {'classes': [str(index) for index in range(number)]}
        note = (
            f'neither checkpoint nor config name {number} classes: they are numbered, and their '
            'colours made up'
        )
    palette = meta.get('palette')
    if palette is None or len(palette) != number:
        palette = np.random.default_rng(0).integers(0, 256, (number, 3))
        note = note or 'neither checkpoint nor config give the classes colours: they are made up'
    return Classes(list(meta['classes']), np.asarray(palette, np.uint8), note)
