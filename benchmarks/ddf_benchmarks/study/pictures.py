"""Predictions of several rows side by side, where thin things are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ddf_seg.annotations import write_png
from ddf_seg.datasets.camvid import CamVidDataset
from ddf_seg.errors import UsageError
from ddf_seg.evaluation.label_regions import LabelMap

from .data import VOID, Image
from .scoring import BAND, THIN

# Of a crop, in pixels of the image; how many times larger it is drawn; how many there are
SIDE, ZOOM, CROPS = 96, 3, 4
_HEADER, _GAP = 24, 4


def draw(
    heads: Mapping[str, nn.Module], held_out: Sequence[Image], folder: Path, file: Path
) -> None:
    """Draws crops of held-out images: the image, the truth, and what each head says.

    A crop is where an image has most pixels of thin classes near borders. The images with most of
    them are drawn, one of each drive as long as there are drives left. So nothing is chosen by its
    result.

    Args:
        heads: by the name to show.
        held_out: images that no head was trained on.
        folder: CamVid's, with train/ and val/.
        file: the picture.
    """
    classes, palette = CamVidDataset.METAINFO['classes'], CamVidDataset.METAINFO['palette']
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    lines = []
    for image, (top, left) in _choose(held_out, [classes.index(name) for name in THIN]):
        window = (slice(top, top + SIDE), slice(left, left + SIDE))
        labels = image.labels.numpy()
        cells = [_photo(folder, image)[window], colours[labels[window]]]
        for head in heads.values():
            ids = _predict(head, image)
            ids[labels == VOID] = VOID
            cells.append(colours[ids[window]])
        lines.append([np.kron(cell, np.ones((ZOOM, ZOOM, 1), np.uint8)) for cell in cells])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(file, _sheet(['image', 'truth', *heads], lines)[..., ::-1].copy())


def _choose(held_out: Sequence[Image], thin: Sequence[int]) -> list[tuple[Image, tuple[int, int]]]:
    found = []
    for image in held_out:
        labels = image.labels[: image.height].numpy()
        # Near a border: large signs and near people show nothing of it.
        near = LabelMap(labels, labels == VOID).near_another(BAND)
        is_thin = torch.from_numpy(np.isin(labels, thin) & near).float()
        sums = F.avg_pool2d(is_thin[None, None], SIDE, stride=8)[0, 0]
        place = int(sums.argmax())
        top, left = divmod(place, sums.shape[1])
        found.append((float(sums.max()), image, (8 * top, 8 * left)))
    found.sort(key=lambda each: -each[0])
    chosen: list[tuple[Image, tuple[int, int]]] = []
    while found and len(chosen) < CROPS:
        seen = {image.drive for image, _ in chosen}
        new = next((each for each in found if each[1].drive not in seen), found[0])
        found.remove(new)
        chosen.append(new[1:])
    return chosen


@torch.no_grad()
def _predict(head: nn.Module, image: Image) -> np.ndarray:
    head.eval()
    scores = head([x[None].float() for x in image.levels])
    scores = F.interpolate(scores, size=image.labels.shape, mode='bilinear')
    return scores.argmax(1)[0].numpy().astype(np.uint8)


def _photo(folder: Path, image: Image) -> np.ndarray:
    """(H, W, 3), RGB."""
    for part in ('train', 'val'):
        path = folder / part / f'{image.name}.png'
        if path.exists():
            content = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if content is None:
                raise UsageError(f'{path}: expected an image, which cannot be read')
            return np.ascontiguousarray(content[..., ::-1])
    raise UsageError(f'{folder}: expected train/{image.name}.png or val/{image.name}.png')


def _sheet(names: Sequence[str], lines: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    step = SIDE * ZOOM + _GAP
    sheet = np.full((_HEADER + step * len(lines), step * len(names), 3), 255, np.uint8)
    for column, name in enumerate(names):
        at = (column * step + 4, _HEADER - 7)
        cv2.putText(sheet, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    for row, cells in enumerate(lines):
        for column, cell in enumerate(cells):
            top, left = _HEADER + row * step, column * step
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet
