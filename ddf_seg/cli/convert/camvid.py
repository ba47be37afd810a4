"""CamVid as published by Cambridge (701 images of 720×960, colours) to class ids, and lists.

Reads LabeledApproved_full/*_L.png (or Labels32-RGB/) and writes three versions of the labels, which
give different scores:

labels_all      31 classes, Void ignored
labels_grouped  11 classes, the 32 grouped as in MathWorks' example, which says it follows SegNet
                (UNVERIFIED: SegNet's own labels have slightly other counts)
labels_strict   11 classes, each its namesake alone, the other 21 ignored (PIDNet, DDRNet, mseg-api)

splits/{train,val,trainval,test}.txt hold 367, 101, 468 and 233 names, the split of SegNet.
SegNet's own version of the data (360×480, 11 classes) needs no conversion.
"""

from pathlib import Path

import numpy as np

from ...annotations import (
    Job,
    colours_to_ids,
    convert,
    converter,
    converter_parser,
    read_table,
    write_list,
)
from ...annotations.converting import find

PROTOCOLS = ('all', 'grouped', 'strict')


def split_of(name: str) -> str:
    """The split that SegNet has an image in; it follows from drive and frame number."""
    drive, _, frame = name.partition('_')
    number = int(frame.lstrip('f')) if frame.lstrip('f').isdigit() else 0
    if drive == '0016E5' and 7959 <= number <= 8159:
        return 'val'
    if drive.startswith('Seq05VD') or (drive == '0001TP' and number >= 8550):
        return 'test'
    return 'train'


def find_labels(root: Path) -> list[Path]:
    unpacked_by_mseg = root / 'Labels32-RGB'
    folder = unpacked_by_mseg if unpacked_by_mseg.is_dir() else root / 'LabeledApproved_full'
    return find(folder, '*_L.png')


def read_label(source: tuple[Path, str]) -> np.ndarray:
    """The ids (H, W) uint8 of a file of colours in one of the protocols."""
    file, protocol = source
    colours = {
        (int(row['red']), int(row['green']), int(row['blue'])): int(row[protocol])
        for row in read_table('camvid_colours')
    }
    return colours_to_ids(file, colours)


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/camvid_full').parse_args()
    labels = find_labels(args.root)
    names = [file.stem.removesuffix('_L') for file in labels]
    splits = {split: [name for name in names if split_of(name) == split] for split in
              ('train', 'val', 'test')}  # fmt: skip
    splits['trainval'] = sorted(splits['train'] + splits['val'])
    for split, chosen in splits.items():
        write_list(args.root / f'splits/{split}.txt', chosen)
    jobs = [
        Job((file, protocol), args.root / f'labels_{protocol}' / f'{name}.png')
        for protocol in PROTOCOLS
        for file, name in zip(labels, names, strict=True)
    ]
    written = convert(read_label, jobs, args.jobs)
    print(f'{args.root}: {written} of {len(jobs)} labels written, lists in {args.root}/splits')
