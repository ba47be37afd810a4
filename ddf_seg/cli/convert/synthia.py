"""SYNTHIA-RAND-CITYSCAPES: GT/LABELS/*.png (16-bit, id in red) to *_labelTrainIds.png."""

from pathlib import Path

import cv2
import numpy as np

from ...annotations import Job, convert, converter, converter_parser, id_map
from ...annotations.converting import find

SUFFIX = '_labelTrainIds.png'
INDICES = id_map('synthia_ids')


def read_red_ids(path: Path) -> np.ndarray:
    # Pillow reads no 16-bit colours; cv2.imread wants UTF-8 names, and imdecode no empty file.
    content = np.fromfile(path, np.uint8)
    channels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if channels is None or channels.ndim != 3 or channels.dtype != np.uint16:
        got = 'no image' if channels is None else f'{channels.dtype} {channels.shape}'
        raise ValueError(f'{path}: expected a 16-bit image of 3 channels, got {got}')
    ids = channels[..., 2]
    if ids.max() >= len(INDICES):
        raise ValueError(f'{path}: expected ids up to {len(INDICES) - 1}, got {ids.max()}')
    return INDICES[ids]


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/RAND_CITYSCAPES').parse_args()
    jobs = [
        Job(file, file.with_name(file.stem + SUFFIX))
        for file in find(args.root / 'GT/LABELS', '*.png')
        if not file.name.endswith(SUFFIX)
    ]
    print(f'{args.root}: {convert(read_red_ids, jobs, args.jobs)} of {len(jobs)} labels written')
