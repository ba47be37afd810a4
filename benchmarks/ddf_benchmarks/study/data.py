"""All labelled images of CamVid, as pixels or as features of a frozen backbone; their splits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS
from torch import Tensor, nn

from ddf_seg.engine.checks.dataset import check_dataset_folders
from ddf_seg.engine.config_file import load_config

VOID = 255
# Stride of the coarsest level, a multiple of which the images are padded to.
DIVISOR = 32


@dataclass(frozen=True)
class Image:
    """An image as decoders get it.

    Attributes:
        name: stem of the file, '0016E5_08640'.
        levels: the backbone's maps, (C, H / stride, W / stride), float16, finest first; or the
            backbone's input alone, (3, H, W), float32.
        labels: (H, W), uint8, padded as the image with VOID.
        height: rows of the image itself.
    """

    name: str
    levels: tuple[Tensor, ...]
    labels: Tensor
    height: int

    @property
    def drive(self) -> str:
        return self.name.partition('_')[0]

    @property
    def frame(self) -> int:
        """Its number in the drive."""
        return int(re.sub(r'\D', '', self.name.partition('_')[2]))


Pairs = list[tuple[Image, Image]]


def read_images(config: Path, cache: Path, device: torch.device) -> Pairs:
    """Every labelled image of train and val with its mirror image, by drive and frame.

    Args:
        config: of the data, and of the network whose backbone makes the features, with the weights
            that the config initialises it with.
        cache: folder; the features are read from there if they are of the same config.
        device: where the images are to be, and the features are computed.

    Raises:
        UsageError: the config or the data are missing.
    """
    cfg = load_config(str(config))
    what = hashlib.sha256(cfg.pretty_text.encode())
    file = cache / f'features-{what.hexdigest()[:12]}.pt'
    if file.exists():
        rows = torch.load(file, mmap=True, weights_only=True)
    else:
        model = _network(cfg, device)
        rows = []
        for pair in _read(cfg, model.data_preprocessor, device):
            both = [(_features(model.backbone, image), image.labels.cpu()) for image in pair]
            rows.append((pair[0].name, pair[0].height, both))
        cache.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix('.tmp')
        torch.save(rows, unfinished)
        unfinished.replace(file)
    pairs = []
    for name, height, both in rows:
        image, mirrored = (
            Image(name, tuple(x.to(device) for x in levels), labels.to(device), height)
            for levels, labels in both
        )
        pairs.append((image, mirrored))
    return _in_order(pairs)


def read_pixels(config: Path, device: torch.device) -> tuple[Pairs, nn.Module]:
    """As `read_images`, but the images are the backbone's input; and the backbone itself.

    Raises:
        UsageError: the config or the data are missing.
    """
    cfg = load_config(str(config))
    model = _network(cfg, device)
    return _in_order(_read(cfg, model.data_preprocessor, device)), model.backbone


def _in_order(pairs: Iterable[tuple[Image, Image]]) -> Pairs:
    return sorted(pairs, key=lambda pair: (pair[0].drive, pair[0].frame))


def _network(cfg: Config, device: torch.device) -> Any:
    check_dataset_folders(cfg, ('train', 'val'))
    init_default_scope('mmseg')
    model: Any = MODELS.build(cfg.model)
    model.init_weights()
    return model.to(device).eval()


def _read(cfg: Config, preprocessor: Any, device: torch.device) -> Iterator[tuple[Image, Image]]:
    """The images and mirror images of train and val, as the backbone's input."""
    for part in ('train', 'val'):
        dataset = cfg[f'{part}_dataloader'].dataset
        dataset.pipeline = cfg.val_dataloader.dataset.pipeline
        for sample in DATASETS.build(dataset):
            labels = sample['data_samples'].gt_sem_seg.data[0]
            data = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
            pixels = preprocessor(data)['inputs'][0]
            height, width = labels.shape
            below, right = -height % DIVISOR, -width % DIVISOR
            pixels = F.pad(pixels[..., :height, :width], (0, right, 0, below))
            labels = F.pad(labels, (0, right, 0, below), value=VOID).to(device, torch.uint8)
            name = Path(sample['data_samples'].img_path).stem
            image = Image(name, (pixels,), labels, height)
            yield image, Image(name, (pixels.flip(-1),), labels.flip(-1), height)


@torch.no_grad()
def _features(backbone: nn.Module, image: Image) -> tuple[Tensor, ...]:
    levels = backbone(image.levels[0][None])
    return tuple(x[0].contiguous().half().cpu() for x in levels)


def blocks(images: Sequence[Image], count: int, block: int) -> tuple[list[int], list[int]]:
    """Indices of the images to train on, and of those to score.

    Each drive is cut into `count` stretches of equal length in frames; one of them is scored. The
    labelled image on each side of it is left out, so that no neighbour of a scored image is seen.

    Args:
        images: by drive and frame.
        count: blocks of a drive.
        block: which is scored, 0 to count − 1.
    """
    train, score = [], []
    for drive in sorted({image.drive for image in images}):
        of_drive = [i for i, image in enumerate(images) if image.drive == drive]
        first, last = images[of_drive[0]].frame, images[of_drive[-1]].frame
        edges = np.linspace(first, last + 1, count + 1)
        inside = [edges[block] <= images[i].frame < edges[block + 1] for i in of_drive]
        score += [i for i, scored in zip(of_drive, inside, strict=True) if scored]
        near = [any(inside[max(0, j - 1) : j + 2]) for j in range(len(of_drive))]
        train += [i for i, close in zip(of_drive, near, strict=True) if not close]
    return train, score


def drives(images: Sequence[Image], left_out: str) -> tuple[list[int], list[int]]:
    """Indices of the images of all other drives, and of those of one."""
    train = [i for i, image in enumerate(images) if image.drive != left_out]
    return train, [i for i, image in enumerate(images) if image.drive == left_out]
