"""Segments images and videos, and writes what comes out."""

from __future__ import annotations

import csv
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
from mmseg.apis import inference_model
from rich.progress import Progress

from ..annotations import write_png
from ..annotations.converting import write_whole
from .errors import UsageError
from .image_size import TrainingSizes
from .inference import Classes, Network
from .inputs import CLASS_COLUMNS, CLASS_TABLE, RESULTS, VIDEOS, Inputs, is_class_table
from .outputs import Tally
from .reading import UnreadableError, plain_name, to_picture

# The MPEG-4 encoder's largest number of ticks in a second.
_MOST_TICKS = 65535


def is_video(file: Path) -> bool:
    """Whether a file is taken for a video: by its suffix."""
    return file.suffix.lower() in VIDEOS


def result_paths(file: Path, name: Path) -> list[Path]:
    """The paths that the results of an input take, below ids/ or below overlays/."""
    if is_video(file):
        return [name, name.with_name(f'{name.name}.mp4')]
    return [_with_png(name)]


def _with_png(path: Path) -> Path:
    return path.with_name(f'{path.name}.png')


@dataclass
class Predictor:
    """A segmentor that draws its prediction over the image.

    Attributes:
        network: The segmentor.
        classes: Names and colours.
        opacity: Of the colours over the picture, 0 to 1.
        scale: Factor by which images are resized in addition to the config's pipeline.
        sizes: Of the images in training, if known.
        unusual: Inputs in which the network sees things far larger or smaller than in training.
    """

    network: Network
    classes: Classes
    opacity: float
    scale: float = 1.0
    sizes: TrainingSizes | None = None
    unusual: list[Path] = field(default_factory=list)

    def __call__(self, image: np.ndarray, file: Path) -> tuple[np.ndarray, np.ndarray]:
        """The class ids (H, W), uint8 or for many classes uint16, and the overlay (H, W, 3), BGR.

        Args:
            image: As the network's reader reads it.
            file: Where it is from, for a warning.
        """
        result = inference_model(self.network.model, image)
        self._check_size(result.metainfo['img_shape'][:2], file)
        ids = result.pred_sem_seg.data[0].cpu().numpy()
        ids = ids.astype(np.uint8 if len(self.classes.names) <= 256 else np.uint16)
        colours = self.classes.palette[:, ::-1][ids]
        picture = to_picture(image)
        return ids, cv2.addWeighted(picture, 1 - self.opacity, colours, self.opacity, 0)

    def _check_size(self, seen: tuple[int, int], file: Path) -> None:
        factor = self.sizes.factor(seen) if self.sizes else 1.0
        # Frames of a video come one after the other.
        if factor == 1 or self.unusual[-1:] == [file]:
            return
        self.unusual.append(file)
        if len(self.unusual) == 1:
            sys.stderr.write(
                f'warning: {file} reaches the network with {seen[1]}×{seen[0]} pixels; in training '
                f'the images had {self.sizes}. What comes out may be worthless: try --scale '
                f'{self.scale * factor:.2g}\n'
            )


def check_targets(inputs: Inputs, out_dir: Path) -> None:
    """Make sure that no result would be written over an input, or over what is no result.

    Raises:
        UsageError: Names the file or folder.
    """
    if not is_class_table(out_dir / CLASS_TABLE):
        for path in (out_dir / name for name in (CLASS_TABLE, *RESULTS)):
            if path.exists():
                raise UsageError(
                    f'--out-dir {out_dir}: {path} exists, but not from an earlier run, and results '
                    'would be written over it. Give another folder'
                )
    taken = {path for file, name in inputs.names.items() for path in result_paths(file, name)}
    targets = [(out_dir / kind).resolve() for kind in RESULTS]
    folders = {folder: folder.resolve() for folder in {file.parent for file in inputs.names}}
    for file in inputs.names:
        folder = folders[file.parent]
        for target in targets:
            if not folder.is_relative_to(target):
                continue
            path = folder.relative_to(target) / file.name
            if path in taken or taken.intersection(path.parents):
                raise UsageError(
                    f'--out-dir {out_dir}: {file} is an input, and a result would be written over '
                    'it. Give another folder'
                )


def write_classes(out_dir: Path, classes: Classes) -> None:
    """Writes what the ids and colours mean, as CSV."""
    table = StringIO(newline='')
    writer = csv.writer(table)
    writer.writerow(CLASS_COLUMNS)
    rows = zip(classes.names, classes.palette.tolist(), strict=True)
    writer.writerows([index, name, *colour] for index, (name, colour) in enumerate(rows))
    out_dir.mkdir(parents=True, exist_ok=True)
    write_whole(out_dir / CLASS_TABLE, table.getvalue().encode())


def predict(predictor: Predictor, inputs: Inputs, out_dir: Path, progress: Progress) -> Tally:
    """Segments all inputs, see `Tally`."""
    tally = Tally(len(inputs.names), inputs.unreadable, 'segmented', out_dir)
    with tally.interruptible():
        for file, name in progress.track(inputs.names.items(), description='Segmenting'):
            with tally.counting(file):
                if is_video(file):
                    _predict_video(predictor, file, name, out_dir, progress)
                else:
                    ids, overlay = predictor(predictor.network.read(file), file)
                    _write_png(_with_png(out_dir / 'ids' / name), ids)
                    _write_png(_with_png(out_dir / 'overlays' / name), overlay)
    return tally


def _write_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, image)


def _predict_video(
    predictor: Predictor, file: Path, name: Path, out_dir: Path, progress: Progress
) -> None:
    folder = out_dir / 'ids' / name
    target = out_dir / 'overlays' / f'{name}.mp4'
    with plain_name(file) as path:
        video = cv2.VideoCapture(path)
        expected = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))) if video.isOpened() else 0
        read, frame = video.read()
        if not read:
            raise UnreadableError('not a video that OpenCV can decode')
        _remove_frames(folder)
        task = progress.add_task(file.name, total=expected or None)
        count = 0
        try:
            rate = video.get(cv2.CAP_PROP_FPS)
            with _writing(target, rate, (frame.shape[1], frame.shape[0])) as writer:
                while read:
                    ids, overlay = predictor(predictor.network.read.convert(frame), file)
                    _write_png(folder / f'{count:06d}.png', ids)
                    writer.write(overlay)
                    count += 1
                    progress.advance(task)
                    read, frame = video.read()
        except KeyboardInterrupt:
            of = f' of {expected}' if expected else ''
            raise KeyboardInterrupt(f'and {count}{of} frames of {file}') from None
        finally:
            video.release()
            progress.remove_task(task)
    with plain_name(target) as path:
        written = int(cv2.VideoCapture(path).get(cv2.CAP_PROP_FRAME_COUNT))
    if written != count:
        raise UnreadableError(f'{target} holds only {max(0, written)} of {count} frames')
    if count < expected:
        raise UnreadableError(f'only {count} of {expected} frames could be decoded')


def _remove_frames(folder: Path) -> None:
    """Removes the frames of an earlier run, perhaps of a longer video."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r'\d{6,}\.png', path.name):
            path.unlink()


@contextmanager
def _writing(target: Path, rate: float, size: tuple[int, int]) -> Iterator[cv2.VideoWriter]:
    """A writer of a video, which gets its name when it is finished."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f'.{os.getpid()}.tmp.mp4')
    try:
        with plain_name(unfinished) as path:
            rate = encodable_rate(rate)
            writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
            try:
                if not writer.isOpened():
                    raise UnreadableError(
                        f'OpenCV cannot encode its overlay, a video of {size[0]}×{size[1]} pixels '
                        f'and {rate:g} frames a second'
                    )
                yield writer
            finally:
                writer.release()
                if unfinished.exists():
                    unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def encodable_rate(rate: float) -> float:
    """The frames a second that MPEG-4 can say and that are nearest to the given ones.

    It counts a second in whole ticks, of which it allows 65535; OpenCV takes a power of ten of them
    for a frame, as many as the decimals need. What makes no sense becomes 25.
    """
    if not 0 < rate <= _MOST_TICKS:
        return 25.0
    for decimals in (3, 2, 1):
        if round(rate * 10**decimals) <= _MOST_TICKS:
            return round(rate, decimals) or 25.0
    return float(round(rate))
