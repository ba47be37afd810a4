"""GTA5 (Playing for Data): labels/*.png (Cityscapes ids) to *_labelTrainIds.png, and a list.

python tools/dataset_converters/gta5.py data/gta5

splits/train.txt leaves out what is known to be spoilt: images that are white, black or of a single
class, and those whose label has another size.
"""

import sys
from functools import partial
from pathlib import Path

from PIL import Image

from ddf_seg.annotations import (
    Job,
    convert,
    converter_parser,
    exit_code,
    id_map,
    map_ids,
    write_list,
)
from ddf_seg.annotations.converting import find

SUFFIX = '_labelTrainIds.png'
SPOILT = {'15188', '15617', '17705'}


def fits(image: Path, label: Path) -> bool:
    """Whether an image is there and has its label's size."""
    if not image.exists():
        return False
    with Image.open(image) as first, Image.open(label) as second:
        return first.size == second.size


def main() -> None:
    args = converter_parser(__doc__).parse_args()
    labels = [
        file for file in find(args.root / 'labels', '*.png') if not file.name.endswith(SUFFIX)
    ]
    sound = [
        file
        for file in labels
        if file.stem not in SPOILT and fits(args.root / 'images' / file.name, file)
    ]
    jobs = [Job(file, file.with_name(file.stem + SUFFIX)) for file in sound]
    written = convert(partial(map_ids, indices=id_map('cityscapes_ids')), jobs, args.jobs)
    write_list(args.root / 'splits/train.txt', [file.stem for file in sound])
    spoilt = len(labels) - len(sound)
    print(f'{args.root}: {written} of {len(jobs)} labels written, {spoilt} images left out')


if __name__ == '__main__':
    sys.exit(exit_code(main))
