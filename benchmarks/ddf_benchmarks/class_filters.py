"""What the filters of a trained classifier tell of the class of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.runner import Runner
from torch import Tensor, nn

from ddf_seg.command_line import markdown_table
from ddf_seg.visualization import capture_filters
from ddf_seg.visualization.basis import FilterBasis
from ddf_seg.visualization.pictures import style

# Channels whose mean filters a picture has room for
CHANNELS = 12


@dataclass
class Captured:
    """The filters of images, layer by layer.

    Attributes:
        labels: classes of the images, (N,).
        channel: of each layer, the channel filters (N, C, kh, kw).
        images: the first image of each class, (K, H, W, 3), RGB, uint8.
        spatial: of each layer, their spatial filters, (G, kh, kw, H', W') each.
    """

    labels: Tensor
    channel: dict[str, Tensor]
    images: list[np.ndarray]
    spatial: dict[str, list[Tensor]]


@torch.no_grad()
def capture(network: Any, loader: dict[str, Any]) -> Captured:
    """Runs a `MeanClassifier` on all images of a loader's config, and keeps its filters."""
    labels: list[Tensor] = []
    channel: dict[str, list[Tensor]] = {}
    images: dict[int, np.ndarray] = {}
    spatial: dict[str, dict[int, Tensor]] = {}
    network.eval()
    for batch in Runner.build_dataloader(loader):
        own = torch.stack(list(batch['data_samples']))
        inputs = network.data_preprocessor(batch)['inputs']
        with capture_filters(network) as calls:
            network(inputs)
        labels.append(own)
        first = {int(own[i]): i for i in reversed(range(len(own))) if int(own[i]) not in images}
        for label, i in first.items():
            images[label] = batch['inputs'][i].numpy()[::-1].transpose(1, 2, 0)
        for call in calls:
            channel.setdefault(call.layer, []).append(call.channel_filter.float())
            for label, i in first.items():
                spatial.setdefault(call.layer, {})[label] = call.spatial_filters(i)
    return Captured(
        torch.cat(labels),
        {layer: torch.cat(parts) for layer, parts in channel.items()},
        [images[label] for label in sorted(images)],
        {layer: [maps[label] for label in sorted(maps)] for layer, maps in spatial.items()},
    )


def similarity(filters: Tensor, labels: Tensor) -> Tensor:
    """Mean cosines between the filters of the images of two classes, (K, K).

    Of what an image has of its own: its filters less their mean over all images. An image is not
    compared with itself.

    Args:
        filters: (N, …), of N images.
        labels: (N,), 0 to K − 1, at least two images of each.
    """
    vectors = filters.flatten(1).double()
    unit = nn.functional.normalize(vectors - vectors.mean(0))
    member = nn.functional.one_hot(labels).double()
    counts, sums = member.sum(0), member.mT @ unit
    pairs = torch.outer(counts, counts) - counts.diag()
    return (sums @ sums.mT - counts.diag()) / pairs


def told(filters: Tensor, labels: Tensor) -> float:
    """For how many images, in per cent, the class is that whose mean filters are nearest.

    Means are of the images at even places, and those at odd places are told, and the other way
    round.
    """
    vectors, member = filters.flatten(1).double(), nn.functional.one_hot(labels).double()
    right = 0
    for start in (0, 1):
        known, asked = slice(start, None, 2), slice(1 - start, None, 2)
        means = (member[known].mT @ vectors[known]) / member[known].sum(0)[:, None]
        nearest = torch.cdist(vectors[asked], means).argmin(1)
        right += int((nearest == labels[asked]).sum())
    return 100 * right / len(labels)


def table(captured: Captured) -> str:
    """Similarity within and between classes and `told`, a layer a line, as Markdown."""
    rows = []
    for layer, filters in captured.channel.items():
        found = similarity(filters, captured.labels)
        classes = len(found)
        within = float(found.diagonal().mean())
        between = float((found.sum() - found.diagonal().sum()) / (classes * (classes - 1)))
        told_by = told(filters, captured.labels)
        rows.append([layer, f'{within:.3f}', f'{between:+.3f}', f'{told_by:.1f}'])
    return markdown_table(['layer', 'within a class', 'between classes', 'told, %'], rows)


def draw(captured: Captured, layers: Sequence[str], names: Sequence[str]) -> Figure:
    """Spatial filters over images, and the channel filters of the last of the layers by class.

    Args:
        captured: see `capture`.
        layers: some of them, from the first to the last.
        names: of the classes.
    """
    count, last = len(names), layers[-1]
    with style.style():
        figure = style.new_figure(
            9.0,
            3.1 + 0.9 * len(layers),
            'Filters of a classifier by class',
            'Above: an image of each class, and its spatial filters: similar ones, similar '
            f'colours, in each row. Below, of {last}: how similar the channel filters of two '
            'images are (mean cosine of what an image has of its own), by class; and mean channel '
            f'filters of a class less those of all, of the {CHANNELS} channels that differ most.',
        )
        # Any: its type knows a single one alone.
        parts: Any = figure.subfigures(2, 1, height_ratios=(0.95 * (1 + len(layers)), 2.6))
        above, below = parts
        grid = above.subplots(1 + len(layers), count, squeeze=False)
        for column, (name, image) in enumerate(zip(names, captured.images, strict=True)):
            grid[0, column].imshow(image)
            grid[0, column].set_title(name)
        for row, layer in zip(grid[1:], layers, strict=True):
            maps = captured.spatial[layer]
            basis = FilterBasis.fit(maps)
            for axes, filters in zip(row, maps, strict=True):
                axes.imshow(basis.colours(filters))
            row[0].set_ylabel(layer.removeprefix('backbone.').removesuffix('.conv2'))
        for axes in grid.ravel():
            style.bare(axes)
        left, right = below.subplots(1, 2, width_ratios=(1, 1.9))
        filters, labels = captured.channel[last], captured.labels
        shown = similarity(filters, labels).numpy()
        limit = style.symmetric_limit(shown)
        left.imshow(shown, cmap=style.DIVERGING, vmin=-limit, vmax=limit)
        left.set(yticks=range(count), yticklabels=names, xticks=[])
        style.add_bar(below, left, limit, 'mean cosine', aspect=24, pad=0.02)
        member = nn.functional.one_hot(labels).double()
        means = (member.mT @ filters.flatten(1).double()) / member.sum(0)[:, None]
        means = (means - means.mean(0)).view(count, filters.shape[1], -1)
        most = means.square().sum((0, 2)).argsort(descending=True)[:CHANNELS].sort().values
        matrix = means[:, most].flatten(1).numpy()
        limit = style.symmetric_limit(matrix)
        right.imshow(matrix, cmap=style.DIVERGING, vmin=-limit, vmax=limit, aspect='auto')
        taps = means.shape[2]
        middles = [taps * i + taps / 2 - 0.5 for i in range(len(most))]
        right.set(yticks=[], xticks=middles, xticklabels=[str(int(c)) for c in most])
        right.set_xlabel('channel, with the taps of its filter row by row')
        for i in range(1, len(most)):
            right.axvline(taps * i - 0.5, color='white', linewidth=1.2)
        style.add_bar(below, right, limit, 'less the mean', aspect=24, pad=0.02)
    return figure
