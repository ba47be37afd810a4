"""nuImages: masks in JSON to semantic/CAM_*/*.png (25 classes), and lists.

Reads v1.0-*/{category,sample_data,surface_ann,object_ann}.json, of every version that is there but
the test set, which has no annotations. Surfaces are painted first, then objects in the order of
their tokens, as nuscenes-devkit does. Lists are splits/{train,val,mini}.txt. Needs pycocotools
(pip install pycocotools).
"""

import base64
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ...annotations import (
    IGNORE,
    Job,
    convert,
    converter,
    converter_parser,
    metainfo,
    read_json,
    write_list,
)
from ...annotations.converting import find

CLASSES = metainfo('nuimages')['classes']


def paint_masks(source: tuple[int, int, list[tuple[int, dict[str, Any]]]]) -> np.ndarray:
    """The label of an image: (height, width, [(class, mask) in the order of painting])."""
    from pycocotools import mask

    height, width, masks = source
    label = np.full((height, width), IGNORE, np.uint8)
    for index, encoded in masks:
        run_lengths = {'size': encoded['size'], 'counts': base64.b64decode(encoded['counts'])}
        label[mask.decode(run_lengths) == 1] = index
    return label


def read_version(folder: Path, target: Path) -> list[Job]:
    """The labels of one version, v1.0-train and the like.

    Raises:
        OSError, ValueError: If a table is missing, damaged or not nuImages'.
    """
    tables = {
        name: read_json(folder / f'{name}.json')
        for name in ('category', 'sample_data', 'surface_ann', 'object_ann')
    }
    try:
        indices = {
            item['token']: CLASSES.index(item['name'])
            for item in tables['category']
            if item['name'] in CLASSES
        }
        masks = defaultdict(list)
        objects = sorted(tables['object_ann'], key=lambda item: item['token'])
        for item in [*tables['surface_ann'], *objects]:
            if item['mask'] is not None and item['category_token'] in indices:
                masks[item['sample_data_token']].append(
                    (indices[item['category_token']], item['mask'])
                )
        return [
            Job(
                (item['height'], item['width'], masks[item['token']]),
                target / Path(item['filename']).relative_to('samples').with_suffix('.png'),
            )
            for item in tables['sample_data']
            if item['is_key_frame']
        ]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{folder}: not the tables of nuImages: {error!r}') from error


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/nuimages').parse_args()
    versions = {file.parent for file in find(args.root, 'object_ann.json')}
    target = args.root / 'semantic'
    jobs: dict[Path, Job] = {}  # versions may share images
    for folder in sorted(versions, key=lambda folder: folder.name):
        split = folder.name.rpartition('-')[2]
        if split == 'test':
            continue
        found = read_version(folder, target)
        names = [job.target.relative_to(target).with_suffix('').as_posix() for job in found]
        write_list(args.root / f'splits/{split}.txt', names)
        jobs |= {job.target: job for job in found}
    written = convert(paint_masks, jobs.values(), args.jobs)
    print(f'{args.root}: {written} of {len(jobs)} labels written, lists in {args.root}/splits')
