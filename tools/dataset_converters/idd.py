"""IDD: paints the polygons into *_gtFine_labellevel3Ids.png (26 classes), beside them.

python tools/dataset_converters/idd.py data/IDD_Segmentation

The result is that of AutoNUE's createLabels.py --id-type level3Id.
"""

import sys
from functools import partial

from ddf_seg.annotations import Job, convert, converter_parser, draw_polygons, exit_code, index_of
from ddf_seg.annotations.converting import find

SUFFIX = '_gtFine_polygons.json'


def main() -> None:
    args = converter_parser(__doc__).parse_args()
    jobs = [
        Job(file, file.with_name(file.name.removesuffix(SUFFIX) + '_gtFine_labellevel3Ids.png'))
        for file in find(args.root / 'gtFine', f'*{SUFFIX}')
    ]
    function = partial(draw_polygons, indices=index_of('idd_labels'))
    print(f'{args.root}: {convert(function, jobs, args.jobs)} of {len(jobs)} labels written')


if __name__ == '__main__':
    sys.exit(exit_code(main))
