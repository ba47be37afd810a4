"""Segments an image, a folder or a video: python tools/predict.py CONFIG CHECKPOINT INPUT

Writes to --out-dir: overlays/ (the classes' colours over the picture; of a video, a video), ids/
(class ids as PNG, of a video one per frame) and classes.csv (what the ids and colours mean).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.runner import load_checkpoint
from mmseg.apis import inference_model, init_model
from mmseg.registry import DATASETS
from rich.console import Console
from rich.progress import Progress

from ddf_seg.engine.checkpoints import check_fit
from ddf_seg.engine.config_walk import walk
from ddf_seg.engine.errors import UsageError
from ddf_seg.engine.pretrained import check_weights
from ddf_seg.engine.tools import explained, parse, read_config, show_usage_errors

IMAGES = {'.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'}
VIDEOS = {'.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm'}


class UnreadableError(Exception):
    """An input that cannot be read, which the others need not suffer for."""


@dataclass
class Predictor:
    """A model with the colours of its classes.

    Args:
        model: As mmseg's `init_model` returns it.
        palette: (classes, 3) uint8, BGR as OpenCV has it.
        opacity: Of the colours over the picture, 0 to 1.
    """

    model: Any
    palette: np.ndarray
    opacity: float

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The class ids (H, W), uint8 or for many classes uint16, and the overlay (H, W, 3)."""
        result = inference_model(self.model, image)
        ids = result.pred_sem_seg.data[0].cpu().numpy()
        ids = ids.astype(np.uint8 if len(self.palette) <= 256 else np.uint16)
        overlay = cv2.addWeighted(image, 1 - self.opacity, self.palette[ids], self.opacity, 0)
        return ids, overlay


def parse_args() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help="config file, or a package's: mmseg::fcn/…")
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('input', type=Path, help='image, video, or folder of such')
    parser.add_argument('--out-dir', type=Path, default=Path('predictions'))
    parser.add_argument(
        '--device', default='cuda:0' if torch.cuda.is_available() else 'cpu', help='cpu, cuda:0, …'
    )
    parser.add_argument('--opacity', type=float, default=0.5, help='of the colours, 0 to 1')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, help='override settings, KEY=VALUE …'
    )
    args = parser.parse_args()
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity: expected 0 to 1, got {args.opacity}')
    return args


def find_inputs(source: Path) -> dict[Path, Path]:
    """Every input with the path of its results below the output's folders, without suffix."""
    if source.is_file():
        return {source: Path(source.stem)}
    if not source.exists():
        raise UsageError(f'INPUT {source} does not exist')
    known = IMAGES | VIDEOS
    files = sorted(file for file in source.rglob('*') if file.suffix.lower() in known)
    if not files:
        raise UsageError(f'INPUT {source} holds no image or video ({" ".join(sorted(known))})')
    names = [file.relative_to(source) for file in files]
    stems = Counter(name.with_suffix('') for name in names)
    # a.jpg and a.png must not overwrite each other's results.
    return {
        file: name.with_suffix('') if stems[name.with_suffix('')] == 1 else name
        for file, name in zip(files, names, strict=True)
    }


def check_device(name: str) -> None:
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition('\n')[0]
        raise UsageError(f'--device {name} is not available: {reason}. Try --device cpu') from error


def load_predictor(args: argparse.Namespace) -> tuple[Predictor, list[str]]:
    """The predictor, and the names of its classes."""
    check_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    source = check_weights(args.checkpoint, 'CHECKPOINT')
    if 'test_pipeline' not in cfg:
        cfg.test_pipeline = cfg.test_dataloader.dataset.pipeline
    with explained(cfg):
        model = init_model(cfg, device=args.device)
    checkpoint = load_checkpoint(model, source, map_location='cpu')
    check_fit(model, checkpoint, args.checkpoint)
    number = model.decode_head.num_classes
    classes, palette = find_classes(checkpoint.get('meta', {}), cfg, number)
    return Predictor(model, palette[:, ::-1].copy(), args.opacity), classes


def find_classes(meta: dict[str, Any], cfg: Config, number: int) -> tuple[list[str], np.ndarray]:
    """Names and colours (RGB) of the classes: of the checkpoint, else of the config's dataset."""
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
    if not found:
        sys.stderr.write(
            f'note: neither checkpoint nor config name {number} classes: they are numbered, and '
            'their colours made up\n'
        )
    meta = found[0] if found else {'classes': [str(index) for index in range(number)]}
    palette = meta.get('palette')
    if palette is None or len(palette) != number:
        palette = np.random.default_rng(0).integers(0, 256, (number, 3))
    return list(meta['classes']), np.asarray(palette, np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')


def with_png(path: Path) -> Path:
    return path.with_name(f'{path.name}.png')


def predict_image(predictor: Predictor, file: Path, name: Path, out_dir: Path) -> None:
    try:
        image = mmcv.imread(file)
    except cv2.error:
        image = None
    except OSError as error:
        raise UnreadableError(str(error)) from error
    if image is None:
        raise UnreadableError('not an image that OpenCV can decode')
    ids, overlay = predictor(image)
    write_image(with_png(out_dir / 'ids' / name), ids)
    write_image(with_png(out_dir / 'overlays' / name), overlay)


def predict_video(
    predictor: Predictor, file: Path, name: Path, out_dir: Path, progress: Progress
) -> None:
    video = cv2.VideoCapture(str(file))
    expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    read, frame = video.read()
    if not read:
        raise UnreadableError('not a video that OpenCV can decode')
    target = out_dir / 'overlays' / f'{name}.mp4'
    target.parent.mkdir(parents=True, exist_ok=True)
    rate = video.get(cv2.CAP_PROP_FPS) or 25.0
    size = (frame.shape[1], frame.shape[0])
    writer = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
    if not writer.isOpened():
        raise OSError(f'cannot write {target}')
    task = progress.add_task(file.name, total=expected if expected > 0 else None)
    count = 0
    while read:
        ids, overlay = predictor(frame)
        write_image(out_dir / 'ids' / name / f'{count:06d}.png', ids)
        writer.write(overlay)
        count += 1
        progress.advance(task)
        read, frame = video.read()
    video.release()
    writer.release()
    if count < expected:
        raise UnreadableError(f'only {count} of {expected} frames could be decoded')


def main() -> int:
    args = parse(parse_args)
    inputs = find_inputs(args.input)
    predictor, classes = load_predictor(args)
    failed = {}
    try:
        args.out_dir.mkdir(parents=True, exist_ok=True)
        with open(args.out_dir / 'classes.csv', 'w', newline='') as table:
            rows = zip(classes, predictor.palette[:, ::-1].tolist(), strict=True)
            writer = csv.writer(table)
            writer.writerow(['id', 'name', 'red', 'green', 'blue'])
            writer.writerows([index, name, *colour] for index, (name, colour) in enumerate(rows))
        with Progress(console=Console(stderr=True)) as progress:
            for file, name in progress.track(inputs.items(), description='Segmenting'):
                try:
                    if file.suffix.lower() in VIDEOS:
                        predict_video(predictor, file, name, args.out_dir, progress)
                    else:
                        predict_image(predictor, file, name, args.out_dir)
                except UnreadableError as error:
                    failed[file] = error
    except OSError as error:
        raise UsageError(f'--out-dir: {error}') from error
    print(f'{len(inputs) - len(failed)} of {len(inputs)} inputs segmented, see {args.out_dir}')
    if failed:
        files = ''.join(f'\n  {file}: {error}' for file, error in failed.items())
        raise UsageError(f'{len(failed)} of {len(inputs)} inputs could not be read:{files}')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
