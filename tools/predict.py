"""Segments an image, a folder or a video: python tools/predict.py CONFIG CHECKPOINT INPUT

With --demo and nothing else, the network in checkpoints/ segments road scenes drawn for it.
Writes to --out-dir: overlays/ (the classes' colours over the picture; of a video, a video), ids/
(class ids as PNG, of a video one per frame) and classes.csv (what the ids and colours mean).
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ddf_seg.openmmlab  # noqa: F401 isort: skip
import cv2
import numpy as np
import torch
from mmengine.config import DictAction
from mmseg.apis import inference_model
from rich.console import Console
from rich.progress import Progress

from ddf_seg.engine.errors import UsageError
from ddf_seg.engine.inference import check_device, find_classes, load_model
from ddf_seg.engine.inputs import IMAGES, VIDEOS, UnreadableError, find_inputs, read_image
from ddf_seg.engine.tools import parse, read_config, show_usage_errors
from ddf_seg.synthetic import render_scene

ROOT = Path(__file__).resolve().parents[1]
DEMO_CONFIG = ROOT / 'configs' / 'ddf_camvid_finetune.py'
DEMO_CHECKPOINT = ROOT / 'checkpoints' / 'ddf_camvid.pth'
DEMO_SCENES = 6


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
    files = [
        parser.add_argument('config', nargs='?', help="config file, or a package's: mmseg::fcn/…"),
        parser.add_argument('checkpoint', nargs='?', help='checkpoint file or URL'),
        parser.add_argument('input', nargs='?', type=Path, help='image, video, or folder of such'),
    ]
    parser.add_argument(
        '--demo',
        action='store_true',
        help=f'draw {DEMO_SCENES} scenes to OUT_DIR/scenes, and segment them by '
        f'{DEMO_CHECKPOINT.relative_to(ROOT)}',
    )
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
    given = [file.dest for file in files if getattr(args, file.dest) is not None]
    if args.demo and given:
        parser.error(f'--demo: expected no further file, got {", ".join(given)}')
    if args.demo:
        args.config, args.checkpoint = str(DEMO_CONFIG), str(DEMO_CHECKPOINT)
        args.input = args.out_dir / 'scenes'
    elif len(given) < len(files):
        missing = ', '.join(file.dest for file in files if file.dest not in given)
        parser.error(f'the following arguments are required: {missing} (or --demo)')
    return args


def draw_scenes(folder: Path) -> None:
    """Road scenes of CamVid's size."""
    for seed in range(DEMO_SCENES):
        write_image(folder / f'{seed}.png', render_scene(seed, (360, 480))[0])


def load_predictor(args: argparse.Namespace) -> tuple[Predictor, list[str]]:
    """The predictor, and the names of its classes."""
    check_device(args.device)
    cfg = read_config(args.config, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options or {})
    model, meta = load_model(cfg, args.checkpoint, args.device)
    classes = find_classes(meta, cfg, model.num_classes)
    if classes.note:
        sys.stderr.write(f'note: {classes.note}\n')
    return Predictor(model, classes.palette[:, ::-1].copy(), args.opacity), classes.names


@contextmanager
def out_dir_errors() -> Iterator[None]:
    """Names the option where what it leads to cannot be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f'--out-dir: {error}') from error


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')


def with_png(path: Path) -> Path:
    return path.with_name(f'{path.name}.png')


def predict_image(predictor: Predictor, file: Path, name: Path, out_dir: Path) -> None:
    ids, overlay = predictor(read_image(file))
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
    if args.demo:
        with out_dir_errors():
            draw_scenes(args.input)
    inputs = find_inputs(args.input, IMAGES | VIDEOS)
    predictor, classes = load_predictor(args)
    failed = {}
    with out_dir_errors():
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
    print(f'{len(inputs) - len(failed)} of {len(inputs)} inputs segmented, see {args.out_dir}')
    if failed:
        files = ''.join(f'\n  {file}: {error}' for file, error in failed.items())
        raise UsageError(f'{len(failed)} of {len(inputs)} inputs could not be read:{files}')
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
