"""What of a process' memory is resident, by /proc, which Linux alone has."""

from __future__ import annotations

import sys
from pathlib import Path


def check_system() -> None:
    """Makes sure that the functions below work.

    Raises:
        SystemExit: the system is not Linux.
    """
    if not sys.platform.startswith('linux'):
        raise SystemExit("the peak of a process' memory is read from /proc, which Linux alone has")


def forget_peak() -> None:
    """Sets this process' peak back to what is resident now."""
    Path('/proc/self/clear_refs').write_text('5')


def resident() -> int:
    """Bytes of this process that are resident now."""
    return _field('/proc/self/status', 'VmRSS')


def peak() -> int:
    """The most bytes of this process that have been resident."""
    return _field('/proc/self/status', 'VmHWM')


def faults() -> int:
    """Page faults of this process so far, without those that read from a disk."""
    import resource  # Unix alone has it

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def available() -> int:
    """Bytes that new processes can have without swapping."""
    return _field('/proc/meminfo', 'MemAvailable')


def _field(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(f'{name}:'):
            return int(line.split()[1]) << 10
    raise RuntimeError(f'{file} has no {name}')
