"""What the dataset converters share: processes, progress, and runs that may be interrupted.

A converter writes new files beside the originals and never opens one of them for writing. Files
get their names when they are whole, and those that are there are left out: an interrupted run is
completed by running it again.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.progress import Progress

from ..command_line import ToolParser
from ..errors import UsageError, counted, listed_below
from ..files import files_below, is_disk_error, mapped, remove_unfinished, write_whole

# Beyond the estimate, so that a disk is not filled to the last byte.
_SPARE = 1.1


class Job(NamedTuple):
    """One file to write.

    Args:
        source: what it is made from, for the converter's function.
        target: the file.
    """

    source: Any
    target: Path


def converter_parser(description: str | None, example: str) -> argparse.ArgumentParser:
    """A command line with what every converter takes: the dataset's folder and --jobs.

    Args:
        description: what the converter reads and writes.
        example: a dataset's folder, for the help.
    """
    parser = ToolParser(description=description, examples=[f'{{program}} {example}'])
    parser.add_argument('root', type=Path, help="the dataset's folder")
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='number of processes')
    return parser


def converter(main: Callable[[], None]) -> Callable[[], int]:
    """A converter as a command line's `main`: missing folders and damaged files are `UsageError`s.

    Returns:
        A function that returns exit code 0.
    """

    @functools.wraps(main)
    def run() -> int:
        try:
            main()
        except (OSError, ValueError) as error:
            raise UsageError(str(error)) from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt('interrupted: run it again to go on') from None
        return 0

    return run


def find(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder whose names match, sorted; see `files_below`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: some would match, were their names in other case.
    """
    files = files_below(folder) if folder.is_dir() else []
    found = [file for file in files if fnmatchcase(file.name, pattern)]
    near = [file for file in files if fnmatchcase(file.name.lower(), pattern.lower())]
    if len(near) > len(found):
        first = next(file for file in near if file not in set(found))
        raise ValueError(
            f'{counted(len(near) - len(found), "file")} would match {pattern} in another case, the '
            f'first is {first}: give small and capital letters as in the pattern'
        )
    if not found:
        state = 'holds no such file' if folder.is_dir() else 'does not exist'
        raise FileNotFoundError(f'expected {pattern} in {folder}, which {state}')
    return found


def convert(
    function: Callable[[Any], np.ndarray], jobs: Iterable[Job], processes: int | None = None
) -> int:
    """Writes the label of every job whose file is not there yet.

    Args:
        function: makes the label (H, W) uint8 of a job's source; importable, as processes need it.
        jobs: the files.
        processes: number of processes; None: one.

    Returns:
        How many files were written.

    Raises:
        OSError: the disk has not enough room for all, estimated by the first file.
        ValueError: some of the sources could not be converted; the others were.
    """
    missing = [job for job in jobs if not job.target.exists()]
    if not missing:
        return 0
    folders = {job.target.parent for job in missing}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    work = _Work(function)
    failures = [work(missing[0])]
    written = missing[0].target
    if written.exists():
        check_space(written.parent, written.stat().st_size * (len(missing) - 1))
    # One OpenCV thread each: the processes share the cores already.
    context = multiprocessing.get_context('spawn')
    working = mapped(work, missing[1:], processes or 1, context, (cv2.setNumThreads, 1))
    with working as results, _progress() as progress:
        failures += progress.track(results, len(missing) - 1, description='Converting')
    for folder in folders:
        remove_unfinished(folder)
    messages = [message for message in failures if message]
    if messages:
        raise ValueError(summarise(messages, f'of {len(missing)} files could not be converted'))
    return len(missing)


def summarise(messages: Sequence[str], what: str) -> str:
    """How many messages there are, and the first five of them."""
    return f'{len(messages)} {what}:{listed_below(messages)}'


class _Work:
    def __init__(self, function: Callable[[Any], np.ndarray]) -> None:
        self.function = function

    def __call__(self, job: Job) -> str:
        """What went wrong with a job, or nothing."""
        try:
            write_png(job.target, self.function(job.source))
        except Exception as error:  # decoders raise many kinds for a damaged file
            if is_disk_error(error):
                raise
            source = str(job.source if isinstance(job.source, Path) else job.target)
            message = str(error)
            return message if source in message else f'{source}: {type(error).__name__}: {message}'
        return ''


def _progress() -> Progress:
    return Progress(console=Console(stderr=True))


def check_space(folder: Path, needed: float) -> None:
    """Makes sure that a folder's disk has room.

    Raises:
        OSError: it has less than `needed` bytes and a tenth.
    """
    free = shutil.disk_usage(folder).free
    if needed * _SPARE > free:
        raise OSError(
            f'{folder}: expected room for about {needed * _SPARE / 1e9:.1f} GB, got '
            f'{free / 1e9:.1f} GB'
        )


def write_png(path: Path, image: np.ndarray) -> None:
    """Writes a PNG whole or not at all.

    Raises:
        ValueError: OpenCV cannot encode the array.
    """
    try:
        content = cv2.imencode('.png', image)[1]
    except cv2.error as error:
        raise ValueError(
            f'{path}: expected an image, got an array of shape {image.shape}'
        ) from error
    write_whole(path, content.tobytes())


def write_list(path: Path, names: Iterable[str]) -> None:
    """Writes an `ann_file`: one name a line, without suffix.

    Raises:
        ValueError: a name is not UTF-8, which mmengine could not read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = ''.join(f'{name}\n' for name in names).encode()
    except UnicodeEncodeError as error:
        line = error.object[: error.start].count('\n')
        name = error.object.split('\n')[line]
        raise ValueError(f'{path}: {name!r} is not UTF-8, as a list must be: rename it') from error
    write_whole(path, content)
