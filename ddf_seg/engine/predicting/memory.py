"""How much memory there is, and how much a network takes for an image."""

from __future__ import annotations

from pathlib import Path

from ..images.pictures import UnreadableError

# Bytes for every pixel that a network sees, and for every pixel and class: an upper estimate of
# what was measured, see docs/deployment.md.
_PER_PIXEL, _PER_CLASS = 1000, 8
# As many as OpenCV decodes. A CPU of two cores needs minutes for them.
MOST_PIXELS = 1 << 30


def needed_memory(height: int, width: int, classes: int) -> int:
    """About how many bytes a network takes that sees an image of this size at once."""
    return height * width * (_PER_PIXEL + _PER_CLASS * classes)


def check_scaled(height: int, width: int, scale: float) -> None:
    """Makes sure that an image is not resized beyond all measure.

    Args:
        height, width: of the image, in pixels.
        scale: the factor.

    Raises:
        UnreadableError: it would have more than `MOST_PIXELS`.
    """
    larger = max(1, round(scale * height)), max(1, round(scale * width))
    if larger[0] * larger[1] > MOST_PIXELS:
        raise UnreadableError(
            f'--scale {scale:g} would make {larger[1]}×{larger[0]} pixels of its {width}×{height}: '
            f'expected at most {MOST_PIXELS:,}. The scale is a factor: 1 keeps the size'
        )


def available_memory(root: Path = Path('/')) -> int:
    """How many bytes this process may still take: of the machine, or of its control group.

    Args:
        root: where proc/ and sys/ are.
    """
    left = []
    if 'MemAvailable' in (known := _numbers(root / 'proc/meminfo')):
        left.append(1024 * known['MemAvailable'])
    group = root / 'sys/fs/cgroup'
    most, used = _read(group / 'memory.max').strip(), _read(group / 'memory.current').strip()
    if most.isdigit() and used.isdigit():
        # Files that were read count as used, and make room.
        cached = _numbers(group / 'memory.stat').get('inactive_file', 0)
        left.append(int(most) - int(used) + cached)
    return max(0, min(left, default=1 << 62))


def _numbers(path: Path) -> dict[str, int]:
    """Lines such as 'MemAvailable: 5 kB' or 'inactive_file 5'."""
    pairs = (line.replace(':', ' ').split()[:2] for line in _read(path).splitlines())
    return {name: int(number) for name, number in pairs}


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''
