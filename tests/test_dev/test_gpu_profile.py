"""The table of a profile by NVIDIA's ncu."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import load_script

from ddf_seg.errors import UsageError

gpu_profile = load_script('dev/gpu_profile.py')
HEAD = '"ID","Kernel Name","Grid Size","Metric Name","Metric Unit","Metric Value"'


def launch(number: int, kernel: str, **values: str) -> list[str]:
    units = dict.fromkeys(gpu_profile.METRICS, 'inst') | {
        gpu_profile.TIME: values.pop('unit', 'ns'),
        gpu_profile.READ: 'byte',
        gpu_profile.WRITTEN: 'byte',
    }
    given = ('125,120', '130,000,000', '109,500,000', '33,400,000', '26.4')
    return [
        f'"{number}","{kernel}","(8, 125, 2)","{name}","{units[name]}","{value}"'
        for name, value in zip(gpu_profile.METRICS, given, strict=True)
    ]


def test_launches_in_their_order_with_derived_columns(tmp_path: Path) -> None:
    log = ['==PROF== Connected', HEAD, *launch(0, 'void rows<float>(Work)'), 'printed between']
    log += launch(1, 'void reduce<float>(Work)')
    lines = gpu_profile.table(gpu_profile.read_profile(log)).splitlines()[2:]
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines]
    # 239.5 MB in 125.12 µs
    expected = ['(8, 125, 2)', '125.1', '239.5', '1914', '33.4', '26 %']
    assert cells == [['rows<float>(Work)', *expected], ['reduce<float>(Work)', *expected]]


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (['no kernels were profiled'], 'expected the table that ncu --csv prints'),
        ([HEAD, *launch(0, 'k', unit='usecond')], r'k: expected gpu__time.* in ns, got usecond'),
        ([HEAD, *launch(0, 'k')[:-1]], 'k: expected sm__throughput.*, which is missing'),
    ],
)
def test_what_is_no_such_profile_is_refused(lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        gpu_profile.table(gpu_profile.read_profile(lines))
