"""Time, bytes and instructions of each kernel, from a profile: python dev/gpu_profile.py LOG

LOG is profile.log of gpu_check, what NVIDIA's ncu printed for dev/gpu_cases.py.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from ddf_seg.command_line import ToolParser, markdown_table, show_usage_errors
from ddf_seg.errors import UsageError

TIME, READ, WRITTEN, ISSUED, BUSY = METRICS = (
    'gpu__time_duration.sum',
    'dram__bytes_read.sum',
    'dram__bytes_write.sum',
    'sm__inst_issued.sum',
    'sm__throughput.avg.pct_of_peak_sustained_elapsed',
)


def read_profile(lines: list[str]) -> list[dict[str, str]]:
    """The launches of a profile in their order: kernel, blocks, and its metrics in ncu's units.

    Raises:
        UsageError: there are none.
    """
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID",')), None)
    if start is None:
        raise UsageError('expected the table that ncu --csv prints, got none')
    launches: dict[str, dict[str, str]] = {}
    for row in csv.DictReader(line for line in lines[start:] if line.startswith('"')):
        launch = launches.setdefault(
            row['ID'], {'kernel': row['Kernel Name'], 'grid': row['Grid Size']}
        )
        launch[row['Metric Name']] = row['Metric Value'].replace(',', '')
        launch[f'{row["Metric Name"]} unit'] = row['Metric Unit']
    return list(launches.values())


def table(launches: list[dict[str, str]]) -> str:
    """A row for each launch, as Markdown.

    Raises:
        UsageError: a metric is missing, or has an unexpected unit.
    """
    rows = []
    for launch in launches:
        if missing := [name for name in METRICS if name not in launch]:
            raise UsageError(f'{launch["kernel"]}: expected {missing[0]}, which is missing')
        for name, unit in ((TIME, 'ns'), (READ, 'byte'), (WRITTEN, 'byte')):
            if (found := launch[f'{name} unit']) != unit:
                raise UsageError(f'{launch["kernel"]}: expected {name} in {unit}, got {found}')
        try:
            values = {name: float(launch[name]) for name in METRICS}
        except ValueError as error:
            raise UsageError(f'{launch["kernel"]}: expected numbers: {error}') from error
        nanoseconds, moved = values[TIME], values[READ] + values[WRITTEN]
        rows.append(
            [
                launch['kernel'].removeprefix('void '),
                launch['grid'],
                f'{nanoseconds / 1e3:.1f}',
                f'{moved / 1e6:.1f}',
                f'{moved / nanoseconds:.0f}',
                f'{values[ISSUED] / 1e6:.1f}',
                f'{values[BUSY]:.0f} %',
            ]
        )
    head = ['kernel', 'blocks', 'µs', 'MB', 'GB/s', 'M instructions', 'busy']
    return markdown_table(head, rows)


def main() -> int:
    parser = ToolParser(
        description=__doc__, examples=['python dev/gpu_profile.py work_dirs/gpu_check/profile.log']
    )
    parser.add_argument('log', type=Path, help='profile.log of gpu_check')
    args: argparse.Namespace = parser.parse_args()
    try:
        lines = args.log.read_text(errors='replace').splitlines()
    except OSError as error:
        raise UsageError(f'{args.log}: {error.strerror}') from error
    print(table(read_profile(lines)))
    return 0


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
