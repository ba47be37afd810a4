"""Shows the filters of image files: what tools/visualize_filters.py does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS
from rich.progress import Progress

from ..engine.images.pictures import UnreadableError
from ..engine.lookup.configs import walk
from ..engine.predicting.classes import Classes
from ..engine.predicting.image_size import TrainingSizes, warn_of_size
from ..engine.predicting.inputs import Inputs
from ..engine.predicting.network import Network
from ..engine.predicting.tally import Tally
from ..errors import UsageError
from ..files import write_whole
from .basis import FilterBasis, Moments
from .capture import MissingLayerError
from .explorer import build_page
from .inspection import Inspection, inspect_image
from .pictures import (
    animate_scan,
    draw_overview,
    layer_bases,
    layer_pictures,
    save,
    telling,
)
from .points import Point, named_points, pick_points

Bases = dict[str, FilterBasis]
PAGE = 'explorer.html'


class Labels:
    """The ground truth of images: of files given, or of the config's test dataset."""

    def __init__(self, cfg: Config, images: Sequence[Path], given: Sequence[Path] | None) -> None:
        self.infos: dict[Path, dict[str, Any]] = {}
        if given is not None:
            if len(given) != len(images):
                raise UsageError(
                    f'--ground-truth: expected a file for each of {len(images)} images, got '
                    f'{len(given)}'
                )
            rules = _label_rules(cfg)
            for image, file in zip(images, given, strict=True):
                if not file.is_file():
                    raise UsageError(f'--ground-truth {file} does not exist')
                self.infos[image.resolve()] = dict(seg_map_path=str(file), seg_fields=[], **rules)
            return
        node = (cfg.get('test_dataloader') or {}).get('dataset')
        if not node:
            return
        try:
            dataset = DATASETS.build({**node, 'pipeline': []})
            infos = [dataset.get_data_info(index) for index in range(len(dataset))]
        except (OSError, ValueError):
            # The dataset is not on this machine: these are other images.
            return
        for info in infos:
            if Path(info.get('seg_map_path') or '').is_file():
                self.infos[Path(info['img_path']).resolve()] = info

    def __call__(self, image: Path) -> np.ndarray | None:
        info = self.infos.get(image.resolve())
        if info is None:
            return None
        try:
            loaded = TRANSFORMS.build({'type': 'LoadAnnotations'})(dict(info))
        except Exception as error:
            label = info['seg_map_path']
            raise UnreadableError(f'its ground truth {label} cannot be read: {error}') from error
        truth: np.ndarray = loaded['gt_seg_map']
        if truth.ndim != 2:
            raise UnreadableError(
                f'its ground truth {info["seg_map_path"]} has {truth.shape[2]} channels, expected '
                'one, of class ids'
            )
        return truth


def _label_rules(cfg: Config) -> dict[str, Any]:
    """How a config's test dataset turns what is in label files into class ids."""
    for _, node in walk(cfg.get('test_dataloader')):
        if 'data_root' in node or 'data_prefix' in node:
            # Its images need not be on this machine.
            dataset = DATASETS.build({**node, 'pipeline': [], 'lazy_init': True})
            known = dataset.metainfo
            return {key: known.get(key) for key in ('label_map', 'reduce_zero_label')}
    return dict(label_map=None, reduce_zero_label=False)


@dataclass
class Visualizer:
    """What is to be shown, and how.

    Attributes:
        networks: titles and segmentors, one or two of one config.
        classes: names and colours.
        labels: the ground truth.
        points: pixels of the image, (x, y); None: see `pick_points`.
        layers: names of DDF calls or of modules; None: all in the overview and the page, the last
            one and the last upsampling in detail.
        channels: whose effective filters to show; None: some that differ.
        html: write the page to explore, too.
        one_page: write one page of all images instead.
        animate: write an animation of each upsampling's filters along a line, too.
        max_size: images whose longer side has more pixels are shrunk to it first.
        sizes: of the images in training, if known.
        unusual: images in which the network sees things far larger or smaller than in training.
        gathered: names and runs of the images so far, for one page.
    """

    networks: list[tuple[str, Network]]
    classes: Classes
    labels: Labels
    points: Sequence[tuple[int, int]] | None = None
    layers: Sequence[str] | None = None
    channels: Sequence[int] | None = None
    html: bool = False
    one_page: bool = False
    animate: bool = False
    max_size: int = 2048
    sizes: TrainingSizes | None = None
    unusual: set[Path] = field(default_factory=set)
    gathered: list[tuple[str, list[Inspection]]] = field(default_factory=list)

    def inspect(self, file: Path) -> tuple[list[Inspection], float]:
        """What the networks make of an image, and how much it was shrunk."""
        image = self.networks[0][1].read(file)
        truth = self.labels(file)
        if truth is not None and truth.shape != image.shape[:2]:
            raise UnreadableError(
                f'its ground truth has {truth.shape[1]}×{truth.shape[0]} pixels, expected '
                f'{image.shape[1]}×{image.shape[0]}'
            )
        scale = min(1.0, self.max_size / max(image.shape[:2]))
        if scale < 1:
            size = tuple(max(1, round(scale * n)) for n in image.shape[1::-1])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if truth is not None:
                truth = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST)
        inspections = []
        for title, network in self.networks:
            try:
                inspection = inspect_image(
                    network.model, image, self.classes, self.layers, title, truth
                )
            except MissingLayerError as error:
                raise UsageError(str(error)) from error
            inspections.append(inspection)
        names = [[call.layer for call in inspection.calls] for inspection in inspections]
        assert all(layers == names[0] for layers in names)
        self._check_size(inspections[0], file)
        return inspections, scale

    def _check_size(self, inspection: Inspection, file: Path) -> None:
        height, width = (
            round(n * scale) for n, scale in zip(inspection.size, inspection.scale, strict=True)
        )
        longest = max(inspection.size)
        warn_of_size(
            self.sizes, (height, width), file, self.unusual,
            lambda f: f'try --max-size {max(1, round(f * longest))}' if f < 1 else '',
        )  # fmt: skip

    def find_points(self, inspection: Inspection, scale: float) -> list[Point]:
        """The points to show of an image.

        Args:
            inspection: of the image.
            scale: how much it was shrunk.
        """
        if not self.points:
            return pick_points(inspection.prediction, inspection.classes.names)
        height, width = inspection.size
        for x, y in self.points:
            if not (0 <= x * scale < width and 0 <= y * scale < height):
                raise UnreadableError(
                    f'--points {x},{y} lies outside the image of {round(width / scale)}×'
                    f'{round(height / scale)} pixels'
                )
        pixels = [(int(x * scale), int(y * scale)) for x, y in self.points]
        return named_points(pixels, inspection.prediction, inspection.classes.names)

    def detailed(self, inspection: Inspection) -> list[str]:
        """The layers to show in detail."""
        names = [call.layer for call in inspection.calls]
        if self.layers:
            return names
        upsampling = [call.layer for call in inspection.calls if call.operator == 'ddf_upsample']
        return [name for name in names if name in {names[-1], *upsampling[-1:]}]

    def check_channels(self, inspection: Inspection, layers: Sequence[str]) -> None:
        """Make sure that the layers have the channels asked for.

        Raises:
            UsageError: names the layer.
        """
        for channel in self.channels or ():
            for layer in layers:
                number = inspection.call(layer).channels
                if not 0 <= channel < number:
                    raise UsageError(
                        f'--channels {channel}: {layer} has the channels 0 to {number - 1}'
                    )

    def show(self, file: Path, folder: Path, bases: Bases | None) -> Iterator[str]:
        """Writes the pictures and the page of an image; yields what is being made."""
        yield 'running the network'
        inspections, scale = self.inspect(file)
        first = inspections[0]
        points = self.find_points(first, scale)
        layers = self.detailed(first)
        self.check_channels(first, layers)
        own = bases if bases is not None else layer_bases(inspections)
        yield 'overview'
        save(draw_overview(inspections, points, own, shared=bases is not None), folder / 'overview')
        for layer in layers:
            yield layer
            for name, figure in layer_pictures(
                inspections, layer, points, self.channels, own[layer]
            ):
                save(figure, folder / layer / name)
            if self.animate and first.call(layer).operator == 'ddf_upsample' and points:
                yield f'{layer}, animation'
                channel = self.channels[0] if self.channels else None
                content = animate_scan(first, layer, telling(points), channel)
                (folder / layer).mkdir(parents=True, exist_ok=True)
                write_whole(folder / layer / 'scan.gif', content)
        if self.one_page:
            self.gathered.append((file.name, inspections))
        elif self.html:
            yield 'page'
            write_page([(file.name, inspections)], folder / PAGE, own)


def write_page(
    images: Sequence[tuple[str, Sequence[Inspection]]], file: Path, bases: Bases | None
) -> None:
    """Writes the page of some images.

    Args:
        images: name and runs of each.
        file: the page.
        bases: of the filter colours; None: each image its own.
    """
    names = [name for name, _ in images]
    titles = ' and '.join(run.title for run in images[0][1])
    on = names[0] if len(names) == 1 else f'{len(names)} images'
    page = build_page([runs for _, runs in images], f'Filters of {titles} on {on}', names, bases)
    write_whole(file, page.encode(errors='backslashreplace'))


def visualize(
    visualizer: Visualizer, inputs: Inputs, out_dir: Path, shared: bool, progress: Progress
) -> Tally:
    """Shows the filters of all images, see `Tally`.

    Args:
        visualizer: what to show.
        inputs: the images.
        out_dir: for a folder for each.
        shared: one basis of the filter colours for all layers with the same kernel, and all images.
        progress: to show how far it is.
    """
    tally = Tally(len(inputs.names), inputs.unreadable, 'shown', out_dir)
    files = list(inputs.names)
    with tally.interruptible():
        bases = _shared_bases(visualizer, files, progress) if shared else None
        task = progress.add_task('', total=len(files))
        for file, name in inputs.names.items():
            with tally.counting(file):
                for step in visualizer.show(file, out_dir / name, bases):
                    progress.update(task, description=f'{file.name}: {step}')
            progress.advance(task)
        if visualizer.gathered:
            progress.update(task, description='page')
            with tally.concluding(out_dir / PAGE):
                write_page(visualizer.gathered, out_dir / PAGE, bases)
    return tally


def _shared_bases(visualizer: Visualizer, files: Sequence[Path], progress: Progress) -> Bases:
    """One basis for all calls that are alike in groups and kernel, over all images."""
    moments: dict[tuple[int, ...], Moments] = defaultdict(Moments)
    kinds: dict[str, tuple[int, ...]] = {}
    for file in progress.track(files, description='Finding the colours'):
        try:
            inspections, _ = visualizer.inspect(file)
        except UsageError:
            raise
        except Exception:
            # It will be reported when its pictures are to be drawn.
            continue
        for inspection in inspections:
            for call in inspection.calls:
                filters = call.own_filters()
                kinds[call.layer] = tuple(filters.shape[:3])
                moments[kinds[call.layer]].add(filters)
    bases = {kind: moment.basis() for kind, moment in moments.items()}
    return {layer: bases[kind] for layer, kind in kinds.items()}
