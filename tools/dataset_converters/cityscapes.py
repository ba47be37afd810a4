"""Cityscapes: makes *_labelTrainIds.png from *_labelIds.png, beside them.

python tools/dataset_converters/cityscapes.py data/cityscapes

Works on all data with Cityscapes' label files, such as gtCoarse and Foggy Driving. The result
equals that of cityscapesScripts' csCreateTrainIdLabelImgs, which paints the polygons, in a tenth of
the time.
"""

import sys
from functools import partial

from ddf_seg.annotations import Job, convert, converter_parser, exit_code, id_map, map_ids
from ddf_seg.annotations.converting import find

SUFFIX = '_labelIds.png'


def main() -> None:
    args = converter_parser(__doc__).parse_args()
    jobs = [
        Job(file, file.with_name(file.name.removesuffix(SUFFIX) + '_labelTrainIds.png'))
        for file in find(args.root, f'*{SUFFIX}')
    ]
    function = partial(map_ids, indices=id_map('cityscapes_ids'))
    print(f'{args.root}: {convert(function, jobs, args.jobs)} of {len(jobs)} labels written')


if __name__ == '__main__':
    sys.exit(exit_code(main))
