"""Filters as colours: principal components in a space that is uniform to the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

# CIELAB: the first component is lightness, which every eye tells apart; the others are the two
# hues, red-green and blue-yellow, within what screens show.
LAB_CENTRE = np.array([58.0, 0.0, 0.0], np.float32)
LAB_REACH = np.array([32.0, 55.0, 55.0], np.float32)
# Deviations that reach the end of the scale.
DEVIATIONS = 2.5


class Moments:
    """Mean and covariance of filters that come map by map, of layers or images."""

    def __init__(self) -> None:
        self.number = 0
        self.sum = torch.zeros(0, dtype=torch.float64)
        self.squares = torch.zeros(0, 0, dtype=torch.float64)

    def add(self, filters: Tensor) -> None:
        """Takes the pixels of a map (G, kh, kw, H, W) in."""
        rows = filters.flatten(3).flatten(0, 2).double()
        if not self.number:
            self.sum, self.squares = rows.new_zeros(len(rows)), rows.new_zeros(len(rows), len(rows))
        self.number += rows.shape[1]
        self.sum += rows.sum(1)
        self.squares += rows @ rows.mT

    def basis(self) -> FilterBasis:
        """The principal components of all that came."""
        mean = self.sum / self.number
        return FilterBasis.of_moments(mean, self.squares / self.number - torch.outer(mean, mean))


@dataclass
class FilterBasis:
    """Principal components of filters.

    Attributes:
        mean: (D,), D = G·kh·kw.
        components: (3, D), each divided by the deviation along it, so that a filter's coordinates
            are in deviations. Zeros where D has fewer dimensions that vary.
        explained: share of the variance of each, (3,).
    """

    mean: Tensor
    components: Tensor
    explained: Tensor

    @classmethod
    def fit(cls, filters: Sequence[Tensor]) -> FilterBasis:
        """The basis of all pixels of all maps together.

        Args:
            filters: maps (G, kh, kw, H, W), of layers or images, alike in G, kh and kw.

        Raises:
            ValueError: maps that differ in G, kh or kw.
        """
        shapes = {tuple(x.shape[:3]) for x in filters}
        if len(shapes) != 1:
            raise ValueError(
                'filters: expected maps alike in groups and kernel size to share a basis, got '
                f'{sorted(shapes)}'
            )
        moments = Moments()
        for x in filters:
            moments.add(x)
        return moments.basis()

    @classmethod
    def of_moments(cls, mean: Tensor, covariance: Tensor) -> FilterBasis:
        """The basis of filters with this mean (D,) and covariance (D, D)."""
        variance, axes = torch.linalg.eigh(covariance)
        variance, axes = variance.flip(0)[:3].clamp_min(0), axes.flip(1)[:, :3].mT
        # An eigenvector's sign is arbitrary: the largest entry shall be positive.
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
        axes = axes * largest.sign()
        # Components that only rounding made are none.
        real = variance > 1e-10 * covariance.trace().clamp_min(1e-30)
        scale = torch.where(real, variance.clamp_min(1e-30).rsqrt(), 0.0)
        components = mean.new_zeros(3, mean.shape[0])
        components[: len(axes)] = axes * scale[:, None]
        explained = mean.new_zeros(3)
        explained[: len(axes)] = variance / covariance.trace().clamp_min(1e-30)
        return cls(mean.float(), components.float(), explained.float())

    def coordinates(self, filters: Tensor) -> Tensor:
        """Where filters (G, kh, kw, H, W) lie along the components, in deviations, (3, H, W)."""
        flat = filters.flatten(0, 2)
        offset = self.components @ self.mean
        return torch.einsum('cd,dhw->chw', self.components, flat) - offset[:, None, None]

    def colours(self, filters: Tensor) -> np.ndarray:
        """The filters' colours, (H, W, 3) RGB, uint8."""
        return coordinates_to_rgb(self.coordinates(filters).numpy())


def coordinates_to_rgb(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates (3, H, W), in deviations, to RGB (H, W, 3), uint8."""
    bounded = np.clip(np.moveaxis(coordinates, 0, -1) / DEVIATIONS, -1, 1)
    lab = (LAB_CENTRE + LAB_REACH * bounded).astype(np.float32)
    rgb = cv2.cvtColor(np.ascontiguousarray(lab), cv2.COLOR_Lab2RGB)
    return np.rint(rgb * 255).astype(np.uint8)
