"""Segments videos, frame by frame."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from ..images.reading import UnreadableError
from .results import write_image

# The MPEG-4 encoder's largest number of ticks in a second.
_MOST_TICKS = 65535

# Of an image (H, W, 3): class ids (H, W) and overlay (H, W, 3)
Segment = Callable[[np.ndarray, Path], tuple[np.ndarray, np.ndarray]]


def predict_video(
    segment: Segment, file: Path, name: Path, out_dir: Path, progress: Progress
) -> None:
    """Writes the class ids of every frame of a video, and a video of the overlays.

    Args:
        segment: what is made of a frame, and the file that it is from.
        file: the video.
        name: of the results, below ids/ and overlays/.
        out_dir: for these.
        progress: to show how far it is.

    Raises:
        UnreadableError: not all of it can be decoded, or encoded again; what can is written.
        KeyboardInterrupt: says how many frames are written.
    """
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
                    ids, overlay = segment(frame, file)
                    write_image(folder / f'{count:06d}.png', ids)
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


@contextmanager
def plain_name(path: Path) -> Iterator[str]:
    """Another name of a file, which need not be there yet: one that is ASCII, for OpenCV's videos.

    OpenCV crashes on names that are not UTF-8.
    """
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f'video{path.suffix.lower()}')
        os.symlink(path.absolute(), link)
        yield link
