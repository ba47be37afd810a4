"""Kinds of filters: the filters of a layer's pixels, clustered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from .calls import FilterCall

KINDS = 12
# Pixels that the means are found from; all pixels are then given to the nearest one.
_SAMPLE = 6000
# Values a step, so that a large map takes no second copy of itself.
_CHUNK = 4_000_000


@dataclass
class Kinds:
    """The kinds of a layer's filters, the most frequent first.

    Attributes:
        means: of what the pixels of each have of their own, (kinds, G, kh, kw).
        pixels: how many there are of each, (kinds,).
        labels: the kind of each pixel, (H', W') uint8.
    """

    means: Tensor
    pixels: np.ndarray
    labels: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        return self.pixels / self.labels.size


def find_kinds(call: FilterCall, kinds: int = KINDS) -> Kinds | None:
    """Clusters `FilterCall.own_filters` by k-means (k-means++ start, fixed seed).

    Args:
        call: of one image.
        kinds: how many at most; empty clusters are left out.

    Returns:
        The kinds; None where all pixels have the same filters.
    """
    if call.pixels_alike:
        return None
    own = call.own_filters()
    rows = own.flatten(3).flatten(0, 2).numpy()
    number = rows.shape[1]
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.choice(number, min(number, _SAMPLE), replace=False))
    sample = rows[:, chosen].T.astype(np.float64)
    distinct = len(np.unique(sample, axis=0))
    centres, _ = kmeans2(
        sample, min(kinds, distinct), iter=20, minit='++', missing='warn', seed=rng
    )
    step = max(1, _CHUNK // len(rows))
    labels = np.concatenate(
        [vq(rows[:, at : at + step].T.astype(np.float64), centres)[0]
         for at in range(0, number, step)]
    )  # fmt: skip
    pixels = np.bincount(labels, minlength=len(centres))
    order = np.argsort(-pixels, kind='stable')[: np.count_nonzero(pixels)]
    place = np.zeros(len(centres), np.uint8)
    place[order] = np.arange(len(order))
    labels = place[labels].reshape(call.size)
    flat = torch.from_numpy(labels.ravel().astype(np.int64))
    sums = torch.zeros(len(order), len(rows))
    sums.index_add_(0, flat, own.flatten(3).flatten(0, 2).mT)
    means = sums / torch.from_numpy(pixels[order])[:, None]
    return Kinds(means.float().unflatten(1, tuple(own.shape[:3])), pixels[order], labels)
