"""Writes a data set of synthetic road scenes in Cityscapes' folder layout."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from ddf_seg.annotations import write_png
from ddf_seg.command_line import ToolParser
from ddf_seg.synthetic import VERSION, render_scene

CITY = 'synthetic'
SETTINGS = 'synthetic_scenes.json'
IMAGES, LABELS = 'leftImg8bit', 'gtFine'
SPLITS = ('train', 'val')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = ToolParser(
        description=__doc__,
        examples=[
            'python tools/dataset_converters/synthetic_scenes.py --out data/demo --train 200 --val '
            '40'
        ],
    )
    parser.add_argument('--out', type=Path, default=Path('data/demo'), help='folder to write')
    parser.add_argument('--train', type=int, default=200, help='scenes in the training split')
    parser.add_argument('--val', type=int, default=40, help='scenes in the validation split')
    parser.add_argument(
        '--size', type=int, nargs=2, default=(256, 512), metavar=('HEIGHT', 'WIDTH'),
        help='of the images in pixels',
    )  # fmt: skip
    parser.add_argument('--seed', type=int, default=0, help='another seed draws other scenes')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='number of processes')
    return parser.parse_args(argv)


def scene_paths(out: Path, split: str, index: int) -> tuple[Path, Path]:
    """Files of the image and of the label map of one scene."""
    name = f'{CITY}_{index:06d}_000000'
    return (
        out / IMAGES / split / CITY / f'{name}_leftImg8bit.png',
        out / LABELS / split / CITY / f'{name}_gtFine_labelTrainIds.png',
    )


def scene_seed(seed: int, split: str, index: int) -> int:
    """Seed of one scene; it does not depend on how many scenes there are."""
    sequence = np.random.SeedSequence([seed, SPLITS.index(split), index])
    return int(sequence.generate_state(1, np.uint64)[0])


def write_scene(task: tuple[str, int], out: Path, size: tuple[int, int], seed: int) -> None:
    """Render and write one scene, (split, index), unless it is there already."""
    image_path, label_path = scene_paths(out, *task)
    # The label is written last: where it exists, the scene is complete.
    if label_path.exists() and image_path.exists():
        return
    image, label = render_scene(scene_seed(seed, *task), size)
    write_png(image_path, image)
    write_png(label_path, label)


def _own_files(out: Path) -> Iterator[Path]:
    for kind in (IMAGES, LABELS):
        for split in SPLITS:
            yield from (out / kind / split / CITY).glob(f'*{CITY}_*.*')


def prepare(out: Path, settings: dict[str, object]) -> bool:
    """Make the folders ready for a run.

    Returns:
        Whether the data set is already complete.

    Raises:
        FileExistsError: If the folder holds a data set that this tool did not write.
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
            'did not write; choose another --out'
        )
    for split in SPLITS:
        for path in scene_paths(out, split, 0):
            path.parent.mkdir(parents=True, exist_ok=True)
    _record(out, settings, complete=False)
    return False


def _record(out: Path, settings: dict[str, object], complete: bool) -> None:
    record = out / SETTINGS
    unfinished = record.with_suffix('.tmp')
    text = json.dumps({'complete': complete, 'settings': settings}, indent=2)
    unfinished.write_text(text + '\n')
    unfinished.replace(record)


def main(argv: list[str] | None = None) -> None:
    """Write the scenes that are missing."""
    args = parse_args(argv)
    counts = dict(zip(SPLITS, (args.train, args.val), strict=True))
    settings: dict[str, object] = {
        'version': VERSION,
        **counts,
        'size': list(args.size),
        'seed': args.seed,
    }
    try:
        complete = prepare(args.out, settings)
    except FileExistsError as error:
        raise SystemExit(str(error)) from None
    if complete:
        print(f'{args.out}: complete already, nothing to do')
        return
    tasks = [(split, index) for split in SPLITS for index in range(counts[split])]
    write = partial(write_scene, out=args.out, size=tuple(args.size), seed=args.seed)
    # One thread each: the processes share the cores already.
    context = multiprocessing.get_context('spawn')
    with context.Pool(args.jobs, cv2.setNumThreads, (1,)) as pool:
        done = pool.imap_unordered(write, tasks, chunksize=4)
        for _ in track(done, 'Drawing road scenes', len(tasks)):
            pass
    for path in _own_files(args.out):  # left by a run that was killed
        if path.suffix == '.tmp':
            path.unlink()
    _record(args.out, settings, complete=True)
    print(f'{args.out}: {args.train} scenes to train on, {args.val} to validate')


if __name__ == '__main__':
    main()
