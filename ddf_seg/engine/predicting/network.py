"""A network as a config and a checkpoint describe it, ready to be run on images."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner import CheckpointLoader
from mmseg.apis import init_model
from mmseg.registry import DATASETS

from ...errors import UsageError
from ..explanations import explained
from ..images.reading import ImageReader
from ..lookup.configs import walk
from ..weights.checkpoints import check_fit, refused, weights_of
from ..weights.pretrained import check_weights
from .classes import Classes, make_classes


def choose_device(name: str | None) -> str:
    """A device that torch can use: the one asked for, else a GPU, else the CPU.

    Raises:
        UsageError: it cannot.
    """
    name = name or ('cuda:0' if torch.cuda.is_available() else 'cpu')
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition('\n')[0]
        raise UsageError(f'--device {name} is not available: {reason}. Try --device cpu') from error
    return name


@dataclass
class Network:
    """A segmentor with what its checkpoint and config say besides.

    Attributes:
        model: as mmseg's `init_model` returns it.
        meta: the checkpoint's `meta`.
        read: reads images as the config's test pipeline does.
    """

    model: Any
    meta: dict[str, Any]
    read: ImageReader


def load_model(cfg: Config, checkpoint: str, device: str, scale: float = 1.0) -> Network:
    """The segmentor of a config with a checkpoint's weights.

    Args:
        cfg: the config, which stays as it is. The segmentor's own has a `test_pipeline` for arrays.
        checkpoint: file or URL.
        device: for the segmentor.
        scale: factor by which images are resized in addition to the config's pipeline; the
            predictions keep the images' size.

    Raises:
        UsageError: the checkpoint is missing, damaged, refused or of another model, or if model
            or pipeline cannot be built.
    """
    source = check_weights(checkpoint, 'CHECKPOINT')
    cfg = copy.deepcopy(cfg)
    # What scores the network; a dataset of several datasets has none.
    dataset = (cfg.get('test_dataloader') or {}).get('dataset') or {}
    first, *steps = dataset.get('pipeline') or cfg.test_pipeline
    if scale != 1:
        # Shrinking needs the mean of all pixels, or thin things come and go.
        how = 'area' if scale < 1 else 'bilinear'
        resize = dict(type='Resize', scale_factor=scale, keep_ratio=True, interpolation=how)
        steps.insert(len(steps) - 1, resize)
    cfg.test_pipeline = [dict(type='LoadImageFromNDArray'), *steps]
    with explained(cfg):
        model = init_model(cfg, device=device)
        read = ImageReader(first)
        Compose(cfg.test_pipeline)
    try:
        loaded = CheckpointLoader.load_checkpoint(source, map_location='cpu')
    except pickle.UnpicklingError as error:
        raise refused(error, f'CHECKPOINT: {checkpoint}') from error
    # Before mmengine lists every key that does not fit.
    check_fit(model, loaded, checkpoint)
    model.load_state_dict(weights_of(loaded), strict=False)
    return Network(model, loaded.get('meta', {}), read)


def find_classes(meta: dict[str, Any], cfg: Config, number: int) -> Classes:
    """Names and colours of the classes: of the checkpoint, else of the config's dataset.

    Args:
        meta: the checkpoint's `meta`.
        cfg: the config.
        number: how many classes the segmentor has.
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
