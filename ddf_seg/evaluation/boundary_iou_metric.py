"""IoU at the boundaries of the classes, and in thin, far and near parts of the scene."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS
from prettytable import PrettyTable

from .label_regions import LabelMap, widen

_Region = tuple[str, np.ndarray, np.ndarray]


@METRICS.register_module()
class BoundaryIoUMetric(BaseMetric):
    """Boundary IoU (Cheng et al., CVPR 2021), and mIoU in parts of the image.

    For masks G and P of a class, with G_d and P_d the pixels of each that lie within d of its own
    contour, Boundary IoU is `|G_d ∩ P_d| / |G_d ∪ P_d|`, over all images. Distances are
    Chebyshev's, as their repeated 3×3 erosion measures; the border of the image is a contour. Void
    is left out, and next to void there is no contour, in truth or prediction.

    All further scores are IoUs over the pixels of a region, which the truth determines:

    - trimap: what lies within some pixels of another class, inside or outside; the image's border
      makes no boundary here.
    - thin and thick: a pixel is of a thin part if opening its class's mask by a square of
      `thinness` times the image's diagonal removes it: poles, signs, far pedestrians, and also
      the fringes of rugged outlines. 'thin' is what lies within the boundary's width of such a
      pixel, so that a pole painted too wide pays for it; 'thick' is the rest.
    - rows: bands of the image. On a level road the distance of a point of the ground follows from
      its row, from the horizon downwards; what stands upright is in the rows that it covers.
    - depth: bands of distance from the camera, where samples have `gt_depth_map` (mmseg's
      LoadDepthAnnotation); pixels without depth (0 or less, or not finite) are in none.

    It returns `mBIoU` and, as asked for, `mIoU_trimap_3`, `mIoU_thin`, `mIoU_thick`,
    `mIoU_rows_0-50` (per cent of the height), `mIoU_depth_20-50`, in per cent, and logs a table of
    all classes. A class that occurs nowhere in a region does not count in its mean. Memory does not
    grow with the dataset; several processes count each image once, as mmengine's own metrics do.

    Args:
        width: d as a fraction of the diagonal of each image, at least a pixel. The authors' 0.02
            would swallow poles whole; 0.005 is 3 pixels at 360×480 and 11 at 1024×2048.
        trimap_widths: of trimaps, in pixels.
        thinness: side of the square as a fraction of the diagonal, for 'thin' and 'thick'.
        row_limits: fractions of the height, ascending, between the bands of rows.
        depth_limits: depths, ascending, between the bands of depth, in the unit of the depth maps.
        classwise: whether to return every class's Boundary IoU, too, as `BIoU_{class}`.
        ignore_index: void in the truth; ids beyond the classes are void in any case.
        collect_device: as for mmengine's BaseMetric.
        prefix: as for mmengine's BaseMetric.

    Raises:
        ValueError: a width is not positive, or limits are not ascending.
    """

    def __init__(
        self,
        width: float = 0.005,
        trimap_widths: Sequence[int] = (),
        thinness: float | None = None,
        row_limits: Sequence[float] = (),
        depth_limits: Sequence[float] = (),
        classwise: bool = False,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for name, given in (('width', [width]), ('trimap_widths', trimap_widths)):
            if any(value <= 0 for value in given):
                raise ValueError(f'{name}: expected more than 0, got {given}')
        if thinness is not None and thinness <= 0:
            raise ValueError(f'thinness: expected more than 0, got {thinness}')
        self.width = width
        self.trimap_widths = trimap_widths
        self.thinness = thinness
        self.row_bands = _bands('row_limits', row_limits, 1.0)
        self.depth_bands = _bands('depth_limits', depth_limits, math.inf)
        self.classwise = classwise
        self.ignore_index = ignore_index
        self._reset()

    def _reset(self) -> None:
        self._images = 0
        # (regions, 3, classes): intersection, area of the truth, area of the prediction
        self._total: np.ndarray | None = None
        self._last: np.ndarray | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Counts a batch.

        Args:
            data_batch: not used.
            data_samples: with `gt_sem_seg` and `pred_sem_seg`, data (1, H, W) each.
        """
        for sample in data_samples:
            truth, prediction = (
                sample[key]['data'].squeeze(0) for key in ('gt_sem_seg', 'pred_sem_seg')
            )
            if truth.shape != prediction.shape:
                raise ValueError(
                    f'{sample.get("img_path", "an image")}: expected truth and prediction of one '
                    f'size, got {tuple(truth.shape)} and {tuple(prediction.shape)}'
                )
            depth = None
            if self.depth_bands:
                if 'gt_depth_map' not in sample:
                    raise ValueError(
                        'depth_limits: expected samples with gt_depth_map; does the test pipeline '
                        'have LoadDepthAnnotation?'
                    )
                depth = sample['gt_depth_map']['data'].squeeze(0).cpu().numpy()
            self._last = self._count(truth, prediction, depth)
            self._total = self._last if self._total is None else self._total + self._last
            self._images += 1

    def _count(
        self, truth: torch.Tensor, prediction: torch.Tensor, depth: np.ndarray | None
    ) -> np.ndarray:
        num_classes = self._num_classes
        void = (truth == self.ignore_index) | (truth < 0) | (truth >= num_classes)
        dtype = torch.uint8 if num_classes < 256 else torch.uint16
        maps = [labels.to(dtype).cpu().numpy() for labels in (truth, prediction)]
        valid = ~void.cpu().numpy()
        equal = maps[0] == maps[1]
        counts = [
            [
                np.bincount(labels[where], minlength=num_classes)[:num_classes]
                for labels, where in (
                    (maps[0], in_truth & in_prediction & equal),
                    (maps[0], in_truth),
                    (maps[1], in_prediction),
                )
            ]
            for _, in_truth, in_prediction in self._regions(maps, valid, depth)
        ]
        return np.array(counts, np.int64)

    @property
    def _num_classes(self) -> int:
        if not self.dataset_meta or 'classes' not in self.dataset_meta:
            raise ValueError('BoundaryIoUMetric: expected dataset_meta with classes, got none')
        return len(self.dataset_meta['classes'])

    def _regions(
        self, maps: Sequence[np.ndarray], valid: np.ndarray, depth: np.ndarray | None
    ) -> Iterator[_Region]:
        """Name of each region, and the pixels where truth and prediction count."""
        height, width = valid.shape
        diagonal = math.hypot(height, width)
        radius = max(1, round(self.width * diagonal))
        truth, prediction = (LabelMap(labels, ~valid) for labels in maps)
        yield 'BIoU', truth.boundary(radius) & valid, prediction.boundary(radius) & valid
        for pixels in self.trimap_widths:
            yield _same(f'IoU_trimap_{pixels}', truth.near_another(pixels) & valid)
        if self.thinness is not None:
            parts = truth.thin(max(1, round(self.thinness * diagonal / 2))) & valid
            thin = widen(parts, radius)
            yield _same('IoU_thin', thin & valid)
            yield _same('IoU_thick', ~thin & valid)
        rows = np.arange(height)[:, None] / height
        for low, high in self.row_bands:
            name = f'IoU_rows_{low * 100:g}-{high * 100:g}'
            yield _same(name, valid & ((rows >= low) & (rows < high)))
        for low, high in self.depth_bands:
            assert depth is not None
            within = (depth > 0) & (depth >= low) & (depth < high)
            yield _same(f'IoU_depth_{low:g}-{high:g}', valid & within)

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum up over all processes, and start anew.

        Args:
            size: number of images in the dataset. A sampler may have repeated the first ones to
                give every process as many; what a process got beyond its share is left out.
        """
        num_classes = self._num_classes
        blank = torch.zeros(1, num_classes, dtype=torch.uint8)
        names = [name for name, *_ in self._regions_of_nothing(blank)]
        total = np.zeros((len(names), 3, num_classes), np.int64)
        if self._total is not None:
            total += self._total
        if self._last is not None and self._images > len(range(get_rank(), size, get_world_size())):
            total -= self._last
        counts = torch.from_numpy(total)
        all_reduce(counts)
        self._reset()
        scores = self.compute_metrics([dict(zip(names, counts.numpy(), strict=True))])
        return {f'{self.prefix}/{key}' if self.prefix else key: scores[key] for key in scores}

    def _regions_of_nothing(self, blank: torch.Tensor) -> Iterator[_Region]:
        empty = blank.numpy()
        return self._regions([empty, empty], empty == 0, empty)

    def compute_metrics(self, results: list[dict[str, np.ndarray]]) -> dict[str, float]:
        """Scores, in per cent, of the counts (3, classes) of every region; logs the classes'."""
        assert self.dataset_meta is not None
        classes = self.dataset_meta['classes']
        table = PrettyTable()
        table.add_column('Class', list(classes))
        scores: dict[str, float] = {}
        for name, (intersection, truth, prediction) in results[0].items():
            union = truth + prediction - intersection
            ious = np.divide(
                intersection * 100.0, union, out=np.full(len(classes), np.nan), where=union > 0
            )
            scores[f'm{name}'] = (
                np.nan if np.isnan(ious).all() else round(float(np.nanmean(ious)), 2)
            )
            table.add_column(name, np.round(ious, 2).tolist())
            if self.classwise and name == 'BIoU':
                each = zip(classes, ious.round(2).tolist(), strict=True)
                scores.update({f'BIoU_{label}': value for label, value in each})
        print_log(f'per class results:\n{table.get_string()}', logger='current')
        return scores


def _same(name: str, pixels: np.ndarray) -> _Region:
    return name, pixels, pixels


def _bands(name: str, limits: Sequence[float], end: float) -> list[tuple[float, float]]:
    """The intervals that limits between 0 and the end make; none without limits."""
    if not limits:
        return []
    bounds = [0.0, *limits, end]
    if any(low >= high for low, high in pairwise(bounds)):
        raise ValueError(
            f'{name}: expected ascending numbers above 0 and below {end:g}, got {list(limits)}'
        )
    return list(pairwise(bounds))
