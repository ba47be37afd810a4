"""Unpacks a dataset's archives (zip, tar, tar.gz …) below a folder.

Each archive is read to its end before its first file is written: one that is cut off or damaged
leaves nothing behind. Nothing is written if the disk has no room for all. Links to files of the
archive become copies. Files that exist with the right size are skipped, so an interrupted run can
be started again.
"""

import shutil
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress

from ..annotations import converter
from ..annotations.archives import Survey
from ..annotations.converting import check_space, summarise
from ..command_line import ToolParser
from ..errors import counted


@converter
def main() -> None:
    parser = ToolParser(
        description=__doc__,
        examples=[
            '{program} leftImg8bit_trainvaltest.zip \\\n'
            '    gtFine_trainvaltest.zip --out data/cityscapes'
        ],
    )
    parser.add_argument(
        'archives', type=Path, nargs='+', metavar='ARCHIVE', help='zip, tar, tar.gz …'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder to unpack into')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    available = shutil.disk_usage(args.out).free
    surveys: list[Survey] = []
    problems: list[str] = []
    columns = (*Progress.get_default_columns(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for archive in args.archives:
            try:
                surveys.append(Survey(archive, args.out, available, progress))
            except (OSError, ValueError) as error:
                problems.append(str(error))
        check_space(args.out, sum(survey.needed for survey in surveys))
        count = sum(survey.unpack(progress) for survey in surveys)
    print(f'{args.out}: {counted(count, "file")} written')
    problems += [problem for survey in surveys for problem in survey.problems]
    if problems:
        raise ValueError(summarise(problems, 'archives or members could not be unpacked'))
