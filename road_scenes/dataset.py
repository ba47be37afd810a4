"""Writes drawn scenes: as a data set in Cityscapes' folder layout, or as pictures in a folder."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from ddf_seg.annotations import write_png
from ddf_seg.files import mapped

from . import VERSION, render_scene, render_with_depth

CITY = 'synthetic'
SETTINGS = 'synthetic_scenes.json'
IMAGES, LABELS, DEPTHS = 'leftImg8bit', 'gtFine', 'depth'
DEPTH_UNIT = 1 / 256
"""Metres, as in KITTI's depth maps: 16 bits reach to 256 m."""
SPLITS = ('train', 'val')


def write_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Draws the scenes of the first seeds to 0.png, 1.png, …

    Args:
        folder: made where it is missing.
        count: how many.
        size: height and width in pixels.

    Raises:
        FileExistsError: a file of that name is there, with another picture.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        path, scene = folder / f'{seed}.png', render_scene(seed, size)[0]
        if path.exists():
            there = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if there is None or not np.array_equal(there, scene):
                raise FileExistsError(
                    f'{path} is there and is not the scene that is drawn there: give another folder'
                )
        write_png(path, scene)


def write_dataset(
    out: Path,
    counts: Mapping[str, int],
    size: tuple[int, int],
    seed: int,
    jobs: int,
    depth: bool = False,
) -> bool:
    """Draws the scenes that are missing, with their labels.

    Args:
        out: folder of the data set.
        counts: number of scenes of each of SPLITS.
        size: height and width in pixels.
        seed: another one draws other scenes.
        jobs: processes.
        depth: write depth maps, too, see `write_scene`.

    Returns:
        Whether there was anything to draw.

    Raises:
        FileExistsError: the folder holds a data set that was not written by this.
        OSError: a process was killed, or the disk is full.
    """
    settings: dict[str, object] = {'version': VERSION, **counts, 'size': list(size), 'seed': seed}
    # Data sets that were drawn before depth could be are complete without the key.
    settings |= {'depth': True} if depth else {}
    if prepare(out, settings):
        return False
    tasks = [(split, index) for split in SPLITS for index in range(counts[split])]
    write = partial(write_scene, out=out, size=size, seed=seed, depth=depth)
    # One thread each: the processes share the cores already.
    context = multiprocessing.get_context('spawn')
    with mapped(write, tasks, jobs, context, (cv2.setNumThreads, 1)) as done:
        for _ in track(done, 'Drawing road scenes', len(tasks)):
            pass
    for path in _own_files(out):  # left by a run that was killed
        if path.suffix == '.tmp':
            path.unlink()
    _record(out, settings, complete=True)
    return True


def scene_paths(out: Path, split: str, index: int) -> tuple[Path, Path, Path]:
    """Files of the image, of the label map and of the depth map of one scene."""
    name = f'{CITY}_{index:06d}_000000'
    return (
        out / IMAGES / split / CITY / f'{name}_leftImg8bit.png',
        out / LABELS / split / CITY / f'{name}_gtFine_labelTrainIds.png',
        out / DEPTHS / split / CITY / f'{name}_depth.png',
    )


def scene_seed(seed: int, split: str, index: int) -> int:
    """Seed of one scene; it does not depend on how many scenes there are."""
    sequence = np.random.SeedSequence([seed, SPLITS.index(split), index])
    return int(sequence.generate_state(1, np.uint64)[0])


def write_scene(
    task: tuple[str, int], out: Path, size: tuple[int, int], seed: int, depth: bool = False
) -> None:
    """Renders and writes one scene, (split, index), unless it is there already.

    A depth map is a PNG of 16 bits in steps of DEPTH_UNIT; 65535 is what is as far or farther.
    """
    image_path, label_path, depth_path = scene_paths(out, *task)
    # The label is written last: where it exists, the scene is complete.
    if label_path.exists() and image_path.exists():
        return
    image, label, metres = render_with_depth(scene_seed(seed, *task), size)
    write_png(image_path, image)
    if depth:
        write_png(depth_path, (metres / DEPTH_UNIT).round().clip(1, 65535).astype(np.uint16))
    write_png(label_path, label)


def _own_files(out: Path) -> Iterator[Path]:
    for kind in (IMAGES, LABELS, DEPTHS):
        for split in SPLITS:
            yield from (out / kind / split / CITY).glob(f'*{CITY}_*.*')


def prepare(out: Path, settings: dict[str, object]) -> bool:
    """Makes the folders ready for a run.

    Returns:
        Whether the data set is already complete.

    Raises:
        FileExistsError: the folder holds a data set that was not written by this.
    """
    record = out / SETTINGS
    if record.exists():
        before = json.loads(record.read_text())
        if before['settings'] == settings and before['complete']:
            return True
        if before['settings'] != settings:
            for path in _own_files(out):
                path.unlink()
    elif (out / IMAGES).exists() or (out / LABELS).exists():
        raise FileExistsError(
            f'{out}: expected a new folder or one with {SETTINGS}, got a data set that this tool '
            'did not write; give another folder'
        )
    for split in SPLITS:
        for path in scene_paths(out, split, 0)[: 3 if 'depth' in settings else 2]:
            path.parent.mkdir(parents=True, exist_ok=True)
    _record(out, settings, complete=False)
    return False


def _record(out: Path, settings: dict[str, object], complete: bool) -> None:
    record = out / SETTINGS
    unfinished = record.with_suffix('.tmp')
    text = json.dumps({'complete': complete, 'settings': settings}, indent=2)
    unfinished.write_text(text + '\n')
    unfinished.replace(record)
