"""Segments videos, frame by frame."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from itertools import count, islice
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from rich.progress import Progress

from ...command_line import say
from ...errors import counted
from ...files import unfinished_beside
from ..images.pictures import UnreadableError
from .backend import Backend, Prediction, View
from .background import Writer, read_ahead
from .results import write_image

# The MPEG-4 encoder's largest number of ticks in a second.
_MOST_TICKS = 65535
# Frames that are decoded ahead of the network, and that wait to be encoded behind it
_DEPTH = 4


class VideoPredictor(Protocol):
    """What segments frames; see `predictor.Predictor`."""

    backend: Backend
    batch_size: int
    ids_video: bool

    def segment(
        self, views: Sequence[View], file: Path, progress: Progress
    ) -> Sequence[Prediction]: ...

    def overlay(
        self, image: np.ndarray, prediction: Prediction, all_classes: bool
    ) -> np.ndarray: ...


def predict_video(
    predictor: VideoPredictor, file: Path, name: Path, out_dir: Path, progress: Progress
) -> None:
    """Writes the class ids of every frame of a video, and a video of the overlays.

    Frames are decoded and results encoded in threads, while the network is at work. At the end it
    says how many frames that were in a second.

    Args:
        predictor: segments and draws.
        file: the video.
        name: of the results, below ids/ and overlays/.
        out_dir: for these.
        progress: to show how far it is.

    Raises:
        UnreadableError: not all of it can be decoded, or encoded again; what can is written.
        KeyboardInterrupt: says how many frames are written.
    """
    with plain_name(file) as path:
        video = cv2.VideoCapture(path)
        expected = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))) if video.isOpened() else 0
        read, first = video.read()
        if not read:
            raise UnreadableError('not a video that OpenCV can decode')
        task = progress.add_task(file.name, total=expected or None)
        started = time.perf_counter()
        written = 0

        def advance(future: Future[None]) -> None:
            nonlocal written
            future.result()
            written += 1
            progress.advance(task)

        try:
            with ExitStack() as stack:
                rate = video.get(cv2.CAP_PROP_FPS)
                size = (first.shape[1], first.shape[0])
                write, targets = _open_results(predictor, name, out_dir, rate, size, stack)
                writer = stack.enter_context(Writer(_DEPTH))
                frames = stack.enter_context(_frames(video, first, predictor))
                index = count()
                for batch in _batches(frames, predictor.batch_size):
                    found = predictor.segment([view for _, view in batch], file, progress)
                    for (image, _), each in zip(batch, found, strict=True):
                        held = 2 * image.nbytes + each.ids.nbytes
                        writer.submit(held, advance, write, next(index), image, each)
        except KeyboardInterrupt:
            of = f' of {expected}' if expected else ''
            raise KeyboardInterrupt(f'and {written}{of} frames of {file}') from None
        finally:
            video.release()
            progress.remove_task(task)
    seconds = time.perf_counter() - started
    say(f'{file}: {counted(written, "frame")} in {seconds:.1f} s, {written / seconds:.1f} a second')
    for target in targets:
        with plain_name(target) as path:
            held = int(cv2.VideoCapture(path).get(cv2.CAP_PROP_FRAME_COUNT))
        if held != written:
            raise UnreadableError(f'{target} holds only {max(0, held)} of {written} frames')
    if written < expected:
        raise UnreadableError(f'only {written} of {expected} frames could be decoded')


_Frame = tuple[np.ndarray, View]


@contextmanager
def _frames(
    video: cv2.VideoCapture, first: np.ndarray, predictor: VideoPredictor
) -> Iterator[Iterator[_Frame]]:
    """The frames, as a thread decodes them."""

    def read(index: int) -> _Frame | None:
        found, frame = video.read() if index else (True, first)
        if not found:
            return None
        image = predictor.backend.convert(frame)
        return image, predictor.backend.view(image)

    def until_the_end(decoded: Iterator[tuple[int, Future[_Frame | None]]]) -> Iterator[_Frame]:
        for _, future in decoded:
            frame = future.result()
            if frame is None:
                return
            yield frame

    def size(frame: _Frame | None) -> int:
        return frame[1].bytes_with(frame[0]) if frame else 0

    depth = max(_DEPTH, predictor.batch_size)
    with read_ahead(read, count(), size, lambda _: 2 * first.nbytes, depth) as decoded:
        yield until_the_end(decoded)


def _batches(frames: Iterator[_Frame], size: int) -> Iterator[list[_Frame]]:
    while batch := list(islice(frames, size)):
        yield batch


def _open_results(
    predictor: VideoPredictor,
    name: Path,
    out_dir: Path,
    rate: float,
    size: tuple[int, int],
    stack: ExitStack,
) -> tuple[Callable[[int, np.ndarray, Prediction], None], list[Path]]:
    """What writes a frame's results, by its number and image; and the videos that it fills."""
    folder, lossless = out_dir / 'ids' / name, out_dir / 'ids' / f'{name}.mkv'
    _remove_frames(folder)
    lossless.unlink(missing_ok=True)
    targets = [out_dir / 'overlays' / f'{name}.mp4']
    # A legend makes it higher.
    blank = np.zeros((size[1], size[0]), np.uint8)
    drawn = predictor.overlay(np.dstack([blank] * 3), Prediction(blank, blank), True)
    overlays = stack.enter_context(_writing(targets[0], rate, (size[0], len(drawn))))
    of_ids = None
    # OpenCV leaves out the last row or column of an odd number.
    beyond = (size[1] % 2, size[0] % 2)
    if predictor.ids_video:
        with suppress(OSError):
            folder.rmdir()
        even = (size[0] + beyond[1], size[1] + beyond[0])
        of_ids = stack.enter_context(_writing(lossless, rate, even, 'FFV1', False))
        targets.append(lossless)

    def write(index: int, image: np.ndarray, found: Prediction) -> None:
        overlays.write(predictor.overlay(image, found, True))
        if of_ids is None:
            write_image(folder / f'{index:06d}.png', found.ids)
        else:
            of_ids.write(np.pad(found.ids, [(0, more) for more in beyond], 'edge'))

    return write, targets


def _remove_frames(folder: Path) -> None:
    """Removes the frames of an earlier run, perhaps of a longer video."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if re.fullmatch(r'\d{6,}\.png', path.name):
            path.unlink()


@contextmanager
def _writing(
    target: Path, rate: float, size: tuple[int, int], codec: str = 'mp4v', colour: bool = True
) -> Iterator[cv2.VideoWriter]:
    """A writer of a video, which gets its name when it is finished."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_beside(target, target.suffix)
    try:
        with plain_name(unfinished) as path:
            rate = encodable_rate(rate)
            writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*codec), rate, size, colour)
            try:
                if not writer.isOpened():
                    raise UnreadableError(
                        f'OpenCV cannot encode its {target.parent.name}, a video ({codec}) of '
                        f'{size[0]}×{size[1]} pixels and {rate:g} frames a second'
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
