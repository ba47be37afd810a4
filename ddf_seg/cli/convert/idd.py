"""IDD: paints the polygons into *_gtFine_labellevel3Ids.png (26 classes), beside them.

The result is that of AutoNUE's createLabels.py --id-type level3Id.
"""

from functools import partial

from ...annotations import Job, convert, converter, converter_parser, draw_polygons, index_of
from ...annotations.converting import find

SUFFIX = '_gtFine_polygons.json'


@converter
def main() -> None:
    args = converter_parser(__doc__, 'data/IDD_Segmentation').parse_args()
    jobs = [
        Job(file, file.with_name(file.name.removesuffix(SUFFIX) + '_gtFine_labellevel3Ids.png'))
        for file in find(args.root / 'gtFine', f'*{SUFFIX}')
    ]
    function = partial(draw_polygons, indices=index_of('idd_labels'))
    print(f'{args.root}: {convert(function, jobs, args.jobs)} of {len(jobs)} labels written')
