"""Shows the filters that pixels got: python tools/visualize_filters.py CONFIG CHECKPOINT IMAGE …

Writes to --out-dir, into a folder for each image: overview (prediction, points, filter colours of
every layer), for each layer the filters at points, maps, filters by class and channel filters, as
PNG and PDF, and with --html a page to explore them, explorer.html, which needs no network.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmseg.registry import DATASETS, TRANSFORMS
from rich.console import Console
from rich.progress import Progress

from ddf_seg.engine.errors import UsageError
from ddf_seg.engine.inference import Classes, check_device, find_classes, load_model
from ddf_seg.engine.inputs import IMAGES, UnreadableError, find_inputs, read_image
from ddf_seg.engine.tools import parse, read_config, show_usage_errors
from ddf_seg.visualization import Inspection, inspect_image, named_points, pick_points
from ddf_seg.visualization.basis import FilterBasis, Moments

try:
    from ddf_seg.visualization.explorer import build_page
    from ddf_seg.visualization.pictures import (
        draw_overview,
        layer_bases,
        layer_pictures,
        save,
    )
except ModuleNotFoundError as error:
    sys.exit(
        f'error: {error.name} is missing: in a checkout of ddf_seg, pip install '
        "--no-build-isolation '.[visualization]'"
    )

Bases = dict[str, FilterBasis]


def parse_args() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('images', type=Path, nargs='+', metavar='image', help='image or folder')
    parser.add_argument(
        '--points', nargs='+', type=pixel, metavar='X,Y',
        help='pixels of the image; default: of each predicted class, on thin things and borders',
    )  # fmt: skip
    parser.add_argument(
        '--layer', nargs='+', metavar='NAME',
        help='DDF calls, or modules for all calls within (decode_head); default: of all in the '
        'overview and the page, of the last one and the last upsampling in detail',
    )  # fmt: skip
    parser.add_argument(
        '--channels', nargs='+', type=int, metavar='N',
        help='whose effective filters to show; default: three that differ',
    )  # fmt: skip
    parser.add_argument(
        '--compare', metavar='CHECKPOINT', help='show a second checkpoint beside the first'
    )
    parser.add_argument(
        '--ground-truth', nargs='+', type=Path, metavar='FILE',
        help="label images, one for each image; default: those of the config's test dataset for "
        'its own images',
    )  # fmt: skip
    parser.add_argument('--out-dir', type=Path, default=Path('filters'))
    parser.add_argument('--html', action='store_true', help='write the page to explore, too')
    parser.add_argument(
        '--max-size', type=int, default=2048, metavar='N',
        help='images whose longer side has more pixels are shrunk to it first',
    )  # fmt: skip
    parser.add_argument(
        '--shared-colours', action='store_true',
        help='one basis of the filter colours for all layers with the same kernel, and all images',
    )  # fmt: skip
    parser.add_argument(
        '--device', default='cuda:0' if torch.cuda.is_available() else 'cpu', help='cpu, cuda:0, …'
    )
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings, KEY=VALUE …'
    )
    args = parser.parse_args()
    if args.max_size < 1:
        parser.error(f'--max-size: expected at least 1, got {args.max_size}')
    return args


def pixel(text: str) -> tuple[int, int]:
    try:
        x, y = map(int, text.split(','))
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected x,y in pixels, got {text!r}') from None
    return x, y


def find_images(sources: Sequence[Path]) -> dict[Path, Path]:
    """Every image with the path of its results below --out-dir."""
    found: dict[Path, Path] = {}
    for source in sources:
        for file, name in find_inputs(source, IMAGES).items():
            # Images of one name from two places
            known = set(found.values())
            number = next(n for n in range(len(known) + 1) if _numbered(name, n) not in known)
            found[file] = _numbered(name, number)
    return found


def _numbered(name: Path, number: int) -> Path:
    return name.with_name(f'{name.name}-{number + 1}') if number else name


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
            for image, file in zip(images, given, strict=True):
                if not file.is_file():
                    raise UsageError(f'--ground-truth {file} does not exist')
                info = {'seg_map_path': str(file), 'label_map': None, 'reduce_zero_label': False}
                self.infos[image.resolve()] = {**info, 'seg_fields': []}
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
        loaded = TRANSFORMS.build({'type': 'LoadAnnotations'})(dict(info))
        return loaded['gt_seg_map']


@dataclass
class Visualizer:
    """What is to be shown, and how.

    Attributes:
        networks: titles and segmentors, one or two.
        classes: names and colours.
        labels: the ground truth.
        args: the command line.
    """

    networks: list[tuple[str, Any]]
    classes: Classes
    labels: Labels
    args: argparse.Namespace

    def inspect(self, file: Path) -> tuple[list[Inspection], float]:
        """What the networks make of an image, and how much it was shrunk."""
        image = read_image(file)
        truth = self.labels(file)
        if truth is not None and truth.shape != image.shape[:2]:
            raise UnreadableError(
                f'its ground truth has {truth.shape[1]}×{truth.shape[0]} pixels, expected '
                f'{image.shape[1]}×{image.shape[0]}'
            )
        scale = min(1.0, self.args.max_size / max(image.shape[:2]))
        if scale < 1:
            size = tuple(max(1, round(scale * n)) for n in image.shape[1::-1])
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            if truth is not None:
                truth = cv2.resize(truth, size, interpolation=cv2.INTER_NEAREST)
        inspections = []
        for title, model in self.networks:
            try:
                inspection = inspect_image(
                    model, image, self.classes, self.args.layer, title, truth
                )
            except ValueError as error:
                raise UsageError(str(error)) from error
            inspections.append(inspection)
        names = [[call.layer for call in inspection.calls] for inspection in inspections]
        assert all(layers == names[0] for layers in names)
        return inspections, scale

    def points(self, inspection: Inspection, scale: float) -> Any:
        if not self.args.points:
            return pick_points(inspection.prediction, inspection.classes.names)
        height, width = inspection.size
        for x, y in self.args.points:
            if not (0 <= x * scale < width and 0 <= y * scale < height):
                raise UsageError(
                    f'--points {x},{y} lies outside the image of {round(width / scale)}×'
                    f'{round(height / scale)} pixels'
                )
        pixels = [(int(x * scale), int(y * scale)) for x, y in self.args.points]
        return named_points(pixels, inspection.prediction, inspection.classes.names)

    def detailed(self, inspection: Inspection) -> list[str]:
        """The layers to show in detail."""
        names = [call.layer for call in inspection.calls]
        if self.args.layer:
            return names
        upsampling = [call.layer for call in inspection.calls if call.operator == 'ddf_upsample']
        return [name for name in names if name in {names[-1], *upsampling[-1:]}]

    def check_channels(self, inspection: Inspection, layers: Sequence[str]) -> None:
        for channel in self.args.channels or ():
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
        points = self.points(first, scale)
        layers = self.detailed(first)
        self.check_channels(first, layers)
        own = bases if bases is not None else layer_bases(inspections)
        yield 'overview'
        save(draw_overview(inspections, points, own, shared=bases is not None), folder / 'overview')
        for layer in layers:
            yield layer
            for name, figure in layer_pictures(
                inspections, layer, points, self.args.channels, own[layer]
            ):
                save(figure, folder / layer / name)
        if self.args.html:
            yield 'page'
            title = f'Filters of {" and ".join(i.title for i in inspections)} on {file.name}'
            page = build_page(inspections, title, own)
            (folder / 'explorer.html').write_text(page, encoding='utf-8')


def shared_bases(visualizer: Visualizer, files: Sequence[Path], progress: Progress) -> Bases:
    """One basis for all calls that are alike in groups and kernel, over all images."""
    moments: dict[tuple[int, ...], Moments] = defaultdict(Moments)
    kinds: dict[str, tuple[int, ...]] = {}
    for file in progress.track(files, description='Finding the colours'):
        try:
            inspections, _ = visualizer.inspect(file)
        except UnreadableError:
            continue
        for inspection in inspections:
            for call in inspection.calls:
                filters = call.spatial_filters()
                kinds[call.layer] = tuple(filters.shape[:3])
                moments[kinds[call.layer]].add(filters)
    bases = {kind: moment.basis() for kind, moment in moments.items()}
    return {layer: bases[kind] for layer, kind in kinds.items()}


def load_networks(args: argparse.Namespace) -> tuple[list[tuple[str, Any]], Classes, Config]:
    check_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    networks = []
    checkpoints = [args.checkpoint, *([args.compare] if args.compare else [])]
    metas = []
    for checkpoint in checkpoints:
        model, meta = load_model(cfg, checkpoint, args.device)
        networks.append((checkpoint.rpartition('/')[2], model))
        metas.append(meta)
    if len({title for title, _ in networks}) < len(networks):
        networks = [(path, model) for path, (_, model) in zip(checkpoints, networks, strict=True)]
    classes = find_classes(metas[0], cfg, networks[0][1].num_classes)
    if classes.note:
        sys.stderr.write(f'note: {classes.note}\n')
    return networks, classes, cfg


def main() -> int:
    args = parse(parse_args)
    images = find_images(args.images)
    networks, classes, cfg = load_networks(args)
    visualizer = Visualizer(networks, classes, Labels(cfg, list(images), args.ground_truth), args)
    failed = {}
    try:
        with Progress(console=Console(stderr=True)) as progress:
            bases = (
                shared_bases(visualizer, list(images), progress) if args.shared_colours else None
            )
            task = progress.add_task('', total=len(images))
            for file, name in images.items():
                try:
                    for step in visualizer.show(file, args.out_dir / name, bases):
                        progress.update(task, description=f'{file.name}: {step}')
                except UnreadableError as error:
                    failed[file] = error
                progress.advance(task)
    except OSError as error:
        raise UsageError(f'--out-dir: {error}') from error
    shown = [name for file, name in images.items() if file not in failed]
    print(f'{len(shown)} of {len(images)} images shown, see {args.out_dir}')
    for name in shown if args.html else ():
        print(f'  {args.out_dir / name / "explorer.html"}')
    if failed:
        files = ''.join(f'\n  {file}: {error}' for file, error in failed.items())
        raise UsageError(f'{len(failed)} of {len(images)} images could not be read:{files}')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
