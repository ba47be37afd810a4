"""Checks the compiled libraries of a wheel: python dev/audit_wheel.py dist/ddf_seg-….whl

They may take from torch the C functions of its stable ABI alone (aoti_torch_*, torch_*), besides
the C, C++ and OpenMP runtimes and the loader; nothing of Python; and no path of the machine that
built them. The wheel must be tagged for every Python from 3.10 on (abi3), and holds the plugin
with its configs, tools and network, and the demo's scenes alone. Needs binutils.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ddf_seg.command_line import ToolParser, show_usage_errors

STABLE_ABI = re.compile(r'(aoti_torch_|torch_)\w+$')
# Versioned symbols (memcpy@GLIBC_2.14) say whose they are.
RUNTIMES = re.compile(r'.+@+(GLIBC|GLIBCXX|CXXABI|GCC|GOMP|OMP)_[\d.]+$')
# Weak and without version; what every library has.
LOADER = {'__gmon_start__', '__cxa_finalize', '_ITM_deregisterTMCloneTable'}
LOADER.add('_ITM_registerTMCloneTable')
BESIDE = (
    *('model-index.yml', 'configs/ddf_camvid.py', 'tools/train.py'),
    'checkpoints/ddf_camvid.pth',
)
PACKAGES = {'ddf_seg', 'road_scenes'}
LIBRARIES = re.compile(r'lib(torch\w*|c10\w*|c|m|stdc\+\+|gcc_s|gomp|dl|rt|pthread)\.so|ld-linux')


def _run(*command: str) -> list[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise SystemExit(f'error: {command[0]} is missing: install binutils') from error
    except subprocess.CalledProcessError as error:
        raise SystemExit(f'error: {" ".join(command)}: {error.stderr.strip()}') from error
    return result.stdout.splitlines()


def audit_library(path: Path) -> Iterator[str]:
    """Yields what a library must not have."""
    stable = 0
    for line in _run('nm', '-D', '--undefined-only', str(path)):
        symbol = line.split()[-1]
        if STABLE_ABI.match(symbol):
            stable += 1
        elif not RUNTIMES.match(symbol) and symbol.partition('@')[0] not in LOADER:
            yield f'undefined symbol {symbol}: expected those of the stable ABI and the runtimes'
    if not stable:
        yield 'no function of the stable ABI: expected a library that registers operators'
    for line in _run('readelf', '-d', '--wide', str(path)):
        value = line.partition('[')[2].partition(']')[0]
        if 'PATH)' in line:
            yield f'run path {value}: expected none'
        elif '(NEEDED)' in line and not LIBRARIES.match(value):
            yield f'needs {value}: expected torch and the C, C++ and OpenMP runtimes only'


def audit(wheel: Path) -> Iterator[str]:
    """Yields 'file: reason' for everything that is wrong with a wheel."""
    if '-cp310-abi3-' not in wheel.name:
        yield f'{wheel.name}: expected the tag cp310-abi3'
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if name.endswith('.so')]
        if 'ddf_seg/_C_cpu.abi3.so' not in libraries:
            yield f'{wheel.name}: expected ddf_seg/_C_cpu.abi3.so in it, got {libraries}'
        rooms = {name.partition('/')[0] for name in archive.namelist()}
        if others := {room for room in rooms if not room.endswith('.dist-info')} - PACKAGES:
            yield f'{wheel.name}: expected {sorted(PACKAGES)} in it, got {sorted(others)}, too'
        expected = [f'ddf_seg/.mim/{name}' for name in BESIDE]
        if missing := set(expected) - set(archive.namelist()):
            yield f'{wheel.name}: expected {sorted(missing)} in it'
        for name in libraries:
            for reason in audit_library(Path(archive.extract(name, folder))):
                yield f'{name}: {reason}'


def main() -> int:
    parser = ToolParser(
        description=__doc__, examples=['python dev/audit_wheel.py dist/ddf_seg-….whl']
    )
    parser.add_argument('wheel', type=Path, help='file that `make wheel` built')
    wheel = parser.parse_args().wheel
    if not zipfile.is_zipfile(wheel):
        parser.error(f'{wheel}: expected a wheel')
    faults = list(audit(wheel))
    sys.stderr.write(''.join(f'{fault}\n' for fault in faults))
    if not faults:
        print(f'{wheel.name}: nothing but the stable ABI and the runtimes')
    return int(bool(faults))


if __name__ == '__main__':
    sys.exit(show_usage_errors(main))
