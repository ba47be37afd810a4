"""WildDash 2: panoptic segments to the 26 classes of its evaluation, and lists.

Reads panoptic.json and panoptic/*.png, writes semantic_train_ids/*.png and splits/{train,val}.txt.
The public part has no split of its own: every tenth image, by name, validates.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ...annotations import (
    IGNORE,
    Job,
    convert,
    converter,
    converter_parser,
    id_map,
    read_json,
    write_list,
)

INDICES = id_map('wilddash2_ids')


def paint_segments(source: tuple[Path, dict[int, int]]) -> np.ndarray:
    """The label of a panoptic image: (file, class id of each segment)."""
    path, categories = source
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert('RGB')).astype(np.int64)
    except OSError as error:
        raise ValueError(f'{path}: {error}') from error
    segments = pixels @ np.array([1, 1 << 8, 1 << 16])
    ids, places = np.unique(segments, return_inverse=True)
    unknown = [index for index in ids.tolist() if index and index not in categories]
    if unknown:
        raise ValueError(f'{path}: panoptic.json has no segment {unknown[0]}')
    # Segment 0 is unlabelled.
    indices = [INDICES[categories[index]] if index else IGNORE for index in ids.tolist()]
    return np.array(indices, np.uint8)[places.reshape(segments.shape)]


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/wilddash2').parse_args()
    file = args.root / 'panoptic.json'
    content = read_json(file)
    try:
        jobs = [
            Job(
                (
                    args.root / 'panoptic' / item['file_name'],
                    {segment['id']: segment['category_id'] for segment in item['segments_info']},
                ),
                args.root / 'semantic_train_ids' / f'{Path(item["file_name"]).stem}.png',
            )
            for item in content['annotations']
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f'{file}: no panoptic annotations: {error!r}') from error
    names = sorted(job.target.stem for job in jobs)
    write_list(args.root / 'splits/val.txt', names[9::10])
    write_list(args.root / 'splits/train.txt', sorted(set(names) - set(names[9::10])))
    written = convert(paint_segments, jobs, args.jobs)
    print(f'{args.root}: {written} of {len(jobs)} labels written, lists in {args.root}/splits')
