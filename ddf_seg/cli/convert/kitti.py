"""KITTI semantics: training/semantic (Cityscapes ids) to training/semantic_train_ids, and lists.

KITTI has no validation split of its own. splits/{train,val}.txt are mseg-api's, 150 and 50 images.
"""

from functools import partial

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

# Numbers of the images, as mseg-api lists them.
VAL = {
    *(1, 3, 7, 8, 20, 22, 24, 25, 26, 30, 37, 43, 49, 50, 52, 57, 60, 61, 63, 68, 71, 72, 76, 79),
    *(86, 96, 101, 115, 121, 128, 129, 131, 133, 134, 137, 139, 140, 141, 142, 144, 146, 149, 156),
    *(157, 169, 175, 178, 190, 192, 196),
}


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/kitti').parse_args()
    labels = find(args.root / 'training/semantic', '*_10.png')
    names = [file.stem for file in labels]
    validated = {f'{number:06d}_10' for number in VAL}
    for split in ('train', 'val'):
        chosen = [name for name in names if (name in validated) == (split == 'val')]
        write_list(args.root / f'splits/{split}.txt', chosen)
    jobs = [Job(file, args.root / 'training/semantic_train_ids' / file.name) for file in labels]
    written = convert(partial(map_ids, indices=id_map('cityscapes_ids')), jobs, args.jobs)
    print(f'{args.root}: {written} of {len(jobs)} labels written, lists in {args.root}/splits')
