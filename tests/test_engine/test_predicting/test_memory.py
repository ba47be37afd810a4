from __future__ import annotations

from pathlib import Path

import pytest

from ddf_seg.engine.predicting.memory import available_memory, needed_memory

GB = 10**9


@pytest.mark.parametrize(
    ('most', 'available'),
    [
        # No control group, none with a limit, one with less left than the machine, one with more
        (None, 8_000_000 * 1024),
        ('max', 8_000_000 * 1024),
        (str(4 * GB), 2 * GB),
        (str(100 * GB), 8_000_000 * 1024),
        (str(1 * GB), 0),
    ],
)
def test_what_is_left(tmp_path: Path, most: str | None, available: int) -> None:
    group = tmp_path / 'sys/fs/cgroup'
    group.mkdir(parents=True)
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/meminfo').write_text('MemTotal: 9000000 kB\nMemAvailable:  8000000 kB\n')
    if most is not None:
        (group / 'memory.max').write_text(f'{most}\n')
        (group / 'memory.current').write_text(f'{3 * GB}\n')
        (group / 'memory.stat').write_text(f'anon {2 * GB}\ninactive_file {1 * GB}\n')
    assert available_memory(tmp_path) == available


def test_of_this_machine() -> None:
    assert 10**7 < available_memory() < 10**14


def test_a_photo_fits_and_an_aerial_picture_does_not() -> None:
    assert needed_memory(1080, 1920, 19) < 4 * GB
    assert needed_memory(8000, 12000, 19) > 60 * GB
