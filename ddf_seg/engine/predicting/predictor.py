"""Segments images and videos, and writes what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress, TaskID

from ...command_line import say
from ...errors import UsageError
from ..images.pictures import to_picture
from .backend import Backend, Prediction, Tiles, View, segment_view
from .background import Writer, read_ahead
from .drawing import Drawing
from .inputs import Inputs
from .results import (
    CLASS_TABLE,
    FOLDERS,
    is_class_table,
    is_video,
    result_paths,
    write_results,
)
from .tally import Tally
from .videos import predict_video

# Files that are read ahead of the network, and results that wait to be written behind it
_AHEAD, _BEHIND = 2, 2
# Bytes that a byte of a JPEG or PNG becomes, the image and its copy for the network: rather many
_UNPACKED = 20


@dataclass
class Predictor:
    """A network that draws its prediction over the image.

    Attributes:
        backend: what runs it.
        drawing: how a prediction is drawn.
        tiles: windows for images that do not fit into memory at once.
        always: use the windows for all images.
        batch_size: how many images of one size it sees together, where they fit into memory.
        ids_video: write class ids of videos as a video, not as a PNG a frame.
    """

    backend: Backend
    drawing: Drawing
    tiles: Tiles
    always: bool = False
    batch_size: int = 1
    ids_video: bool = False
    _said: bool = False

    def segment(
        self, views: Sequence[View], file: Path, progress: Progress
    ) -> Sequence[Prediction]:
        """What the network says of images of one size.

        Args:
            views: the images.
            file: where they are from, for notes.
            progress: to show how far a large image is.
        """
        self.backend.check_size(views[0], file)
        doubt = self.drawing.shown == 'doubt'
        number = 0 if self.always else self._fitting(views, file)
        if not number:
            return [self._in_windows(view, doubt, file, progress) for view in views]
        parts = [views[i : i + number] for i in range(0, len(views), number)]
        return [found for part in parts for found in self.backend.segment(part, doubt)]

    def _fitting(self, views: Sequence[View], file: Path) -> int:
        """How many of the images fit into memory together; 0: not even one."""
        for number in range(len(views), 0, -1):
            needed, available = self.backend.memory(views[0], number)
            if needed <= available:
                return number
        if not self._said:
            self._said = True
            height, width = views[0].image_size
            say(
                f'note: {file} has {width}×{height} pixels. Seen whole, it would take about '
                f'{needed / 1e9:.0f} GB of memory, and {available / 1e9:.0f} GB are free: it is '
                f'segmented in {self.tiles} (see --tile)'
            )
        return 0

    def _in_windows(self, view: View, doubt: bool, file: Path, progress: Progress) -> Prediction:
        task = progress.add_task(f'{file.name}, windows', visible=False)

        def step(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=total > 1)

        try:
            return segment_view(view, self.tiles, doubt, step)
        finally:
            progress.remove_task(task)

    def overlay(
        self, image: np.ndarray, prediction: Prediction, all_classes: bool = False
    ) -> np.ndarray:
        """The picture with the prediction over it, (H', W, 3) uint8, BGR.

        Args:
            image: as the backend reads it.
            prediction: what the network says of it.
            all_classes: see `Drawing`.
        """
        return self.drawing(to_picture(image), *prediction, all_classes)


def check_targets(inputs: Inputs, out_dir: Path) -> None:
    """Makes sure that no result would be written over an input, or over what is no result.

    Raises:
        UsageError: names the file or folder.
    """
    if not is_class_table(out_dir / CLASS_TABLE):
        for path in (out_dir / name for name in (CLASS_TABLE, *FOLDERS)):
            if path.exists():
                raise UsageError(
                    f'--out-dir {out_dir}: {path} exists, but not from an earlier run, and results '
                    'would be written over it. Give another folder'
                )
    taken = {path for file, name in inputs.names.items() for path in result_paths(file, name)}
    targets = [(out_dir / kind).resolve() for kind in FOLDERS]
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


def predict(predictor: Predictor, inputs: Inputs, out_dir: Path, progress: Progress) -> Tally:
    """Segments all inputs, see `Tally`."""
    tally = Tally(len(inputs.names), inputs.unreadable, 'segmented', out_dir)
    task = progress.add_task('Segmenting', total=len(inputs.names))
    with tally.interruptible():
        for of_videos, files in groupby(inputs.names, is_video):
            if not of_videos:
                _predict_images(predictor, list(files), inputs, out_dir, progress, task, tally)
                continue
            for file in files:
                with tally.counting(file):
                    predict_video(predictor, file, inputs.names[file], out_dir, progress)
                progress.advance(task)
    return tally


class _Image(NamedTuple):
    file: Path
    pixels: np.ndarray
    view: View


def _predict_images(
    predictor: Predictor,
    files: Sequence[Path],
    inputs: Inputs,
    out_dir: Path,
    progress: Progress,
    task: TaskID,
    tally: Tally,
) -> None:
    """Files are read while the network is at work, and results written."""

    def read(file: Path) -> _Image:
        pixels = predictor.backend.read(file)
        return _Image(file, pixels, predictor.backend.view(pixels))

    def write(file: Path, pixels: np.ndarray, found: Prediction) -> None:
        write_results(out_dir, inputs.names[file], found.ids, predictor.overlay(pixels, found))

    def written(file: Path, future: Future[None]) -> None:
        with tally.counting(file):
            future.result()
        progress.advance(task)

    def size(image: _Image) -> int:
        return image.view.bytes_with(image.pixels)

    depth = max(_AHEAD, predictor.batch_size)
    ahead = read_ahead(read, files, size, _guess_size, depth, _AHEAD)
    with Writer(_BEHIND, _BEHIND) as writer, ahead as read_files:
        for batch in _batches(read_files, predictor.batch_size, tally):
            found: Sequence[Prediction] = ()
            with tally.counting(*(image.file for image in batch), last=False):
                found = predictor.segment([image.view for image in batch], batch[0].file, progress)
            for image, each in zip(batch, found, strict=False):
                # The overlay is as large as the image.
                held = 2 * image.pixels.nbytes + each.ids.nbytes
                done = partial(written, image.file)
                writer.submit(held, done, write, image.file, image.pixels, each)
    progress.update(task, completed=tally.done)


def _guess_size(file: Path) -> int:
    try:
        return _UNPACKED * file.stat().st_size
    except OSError:
        # Whoever reads it says why.
        return 0


def _batches(
    read_files: Iterator[tuple[Path, Future[_Image]]], size: int, tally: Tally
) -> Iterator[list[_Image]]:
    """Images one after another that are of one size, as many as a batch takes."""
    batch: list[_Image] = []
    for file, future in read_files:
        image = None
        with tally.counting(file, last=False):
            image = future.result()
        if image is None:
            continue
        if batch and not _alike(batch[0], image):
            yield batch
            batch = []
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _alike(first: _Image, second: _Image) -> bool:
    a, b = first.pixels, second.pixels
    return (a.shape, a.dtype) == (b.shape, b.dtype)
