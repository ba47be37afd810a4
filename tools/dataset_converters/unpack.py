"""Unpacks a dataset's archives (zip, tar, tar.gz …) below a folder.

python tools/dataset_converters/unpack.py leftImg8bit_trainvaltest.zip gtFine_trainvaltest.zip \
    --out data/cityscapes

Files that are there with their size are left out, so that an interrupted run may be started again.
"""

import argparse
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import DownloadColumn, Progress

from ddf_seg.annotations import exit_code
from ddf_seg.annotations.converting import check_space

Member = tuple[str, int, Callable[[], IO[bytes] | None]]


def members(archive: Path) -> Iterator[Member]:
    """Name, size and opener of every file in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, partial(zipped.open, info)
    elif archive.exists() and tarfile.is_tarfile(archive):
        # As a stream: an index would take reading it all.
        with tarfile.open(archive, 'r|*') as tar:
            for member in tar:
                if member.isfile():
                    yield member.name, member.size, partial(tar.extractfile, member)
    else:
        state = 'no zip or tar archive' if archive.exists() else 'no such file'
        raise ValueError(f'{archive}: {state}')


def place(out: Path, name: str, archive: Path) -> Path:
    """Where a member goes, which must be below the folder."""
    target = out / name
    if not target.resolve().is_relative_to(out.resolve()):
        raise ValueError(f'{archive}: member {name!r} leads out of {out}')
    return target


def needed(archive: Path, out: Path) -> int:
    """Bytes that unpacking will take; of a tar, at least."""
    if not zipfile.is_zipfile(archive):
        # Images hardly compress.
        return archive.stat().st_size if archive.exists() else 0
    return sum(
        size for name, size, _ in members(archive) if not is_there(place(out, name, archive), size)
    )


def is_there(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def unpack(archive: Path, out: Path, progress: Progress) -> int:
    """Write the files that are not there; returns how many those were."""
    task = progress.add_task(archive.name, total=None)
    count = 0
    for name, size, opener in members(archive):
        target = place(out, name, archive)
        source = None if is_there(target, size) else opener()
        if source is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_name(f'.{target.name}.tmp')
            with source, open(unfinished, 'wb') as file:
                shutil.copyfileobj(source, file, 1 << 20)
            unfinished.replace(target)
            count += 1
        progress.advance(task, size)
    progress.update(task, total=progress.tasks[task].completed)
    return count


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('archives', type=Path, nargs='+', metavar='ARCHIVE')
    parser.add_argument('--out', type=Path, required=True, help='folder to unpack into')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    check_space(args.out, sum(needed(archive, args.out) for archive in args.archives))
    columns = (*Progress.get_default_columns(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        count = sum(unpack(archive, args.out, progress) for archive in args.archives)
    print(f'{args.out}: {count} files written')


if __name__ == '__main__':
    sys.exit(exit_code(main))
