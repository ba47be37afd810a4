"""GTA5 (Playing for Data): labels/*.png (Cityscapes ids) to *_labelTrainIds.png, and a list.

splits/train.txt leaves out images that are known to be faulty: those that are white, black or of a
single class, and those whose label has another size.
"""

from functools import partial
from pathlib import Path

from PIL import Image

from ...annotations import (
    Job,
    convert,
    converter,
    converter_parser,
    id_map,
    map_ids,
    write_list,
)
from ...annotations.converting import find
from ...errors import counted

SUFFIX = '_labelTrainIds.png'
SPOILT = {'15188', '15617', '17705'}


def fits(image: Path, label: Path) -> bool:
    """Whether an image is there and has its label's size.

    Raises:
        ValueError: If one of them is damaged.
    """
    sizes = []
    for file in (image, label):
        try:
            with Image.open(file) as opened:
                sizes.append(opened.size)
        except FileNotFoundError:
            return False
        except (OSError, SyntaxError) as error:
            raise ValueError(f'{file}: {error}') from error
    return sizes[0] == sizes[1]


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/gta5').parse_args()
    labels = [
        file for file in find(args.root / 'labels', '*.png') if not file.name.endswith(SUFFIX)
    ]
    sound, damaged = [], []
    for file in labels:
        try:
            if file.stem not in SPOILT and fits(args.root / 'images' / file.name, file):
                sound.append(file)
        except ValueError as error:
            damaged.append(str(error))
    write_list(args.root / 'splits/train.txt', [file.stem for file in sound])
    jobs = [Job(file, file.with_name(file.stem + SUFFIX)) for file in sound]
    written = convert(partial(map_ids, indices=id_map('cityscapes_ids')), jobs, args.jobs)
    left_out = counted(len(labels) - len(sound), 'image')
    print(f'{args.root}: {written} of {len(jobs)} labels written, {left_out} left out')
    if damaged:
        raise ValueError(
            f'{len(damaged)} of them because a file cannot be read, the first: {damaged[0]}'
        )
