"""Unpacking of zip and tar archives that may be cut off, damaged, or larger than the disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from rich.markup import escape
from rich.progress import Progress

from ..files import is_disk_error, replacing
from .converting import check_space

_DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b'\x1f\x8b': gzip.open,
    b'BZh': bz2.open,
    b'\xfd7zXZ': lzma.open,
    b'': open,
}
# The first record of a zip archive: of a member, of an empty one's end, of one in several parts
_ZIP_MAGICS = (b'PK\x03\x04', b'PK\x05\x06', b'PK\x07\x08')


class _Member(NamedTuple):
    """A file in an archive, or a link.

    Args:
        name: its path, normalised.
        size: in bytes, of a file.
        link: of a link: the path that it leads to.
        open: opens a file.
    """

    name: str
    size: int = 0
    link: str = ''
    open: Callable[[], Any] | None = None


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a header that is damaged, cut off or missing for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f'no end mark, {error}') from error


class Survey:
    """What an archive holds that a folder lacks, found by reading all of the archive.

    Attributes:
        needed: bytes to write.
        problems: what cannot be unpacked, each with the archive's name.

    Args:
        archive: the file.
        out: the folder.
        available: bytes that may be written.
        progress: shows how much has been read.

    Raises:
        OSError: the archive is missing, or would write more than that.
        ValueError: it is damaged, cut off, or no archive, or if it would write elsewhere.
    """

    def __init__(self, archive: Path, out: Path, available: int, progress: Progress) -> None:
        self.archive, self.out = archive, out
        self.needed = 0
        self.problems: list[str] = []
        self._sizes: dict[str, int] = {}
        self._links: dict[str, str] = {}
        reading = f'Reading {escape(archive.name)}'
        with progress.open(archive, 'rb', description=reading) as reader:
            raw = io.BufferedReader(reader, 1 << 20)  # type: ignore[type-var]
            for member in _members(archive, raw):
                self._add(member, available)
        for name in list(self._links):
            target = self._follow(name)
            if target is None:
                self.problems.append(
                    f'{archive}: {name} is a link to {self._links.pop(name)}, which is no file of '
                    'the archive'
                )
            else:
                self._links[name] = target
                self._need(name, self._sizes[target], available)

    def _add(self, member: _Member, available: int) -> None:
        _check_place(self.out, member.name, self.archive)
        if member.open:
            self._sizes[member.name] = member.size
            self._need(member.name, member.size, available)
        elif member.link:
            self._links[member.name] = member.link
        else:
            self.problems.append(f'{self.archive}: {member.name} is neither a file nor a link')

    def _need(self, name: str, size: int, available: int) -> None:
        if not _is_there(self.out / name, size):
            self.needed += size
        if self.needed > available:
            check_space(self.out, self.needed)

    def _follow(self, name: str) -> str | None:
        """The file that a chain of links leads to; None where there is none."""
        for _ in range(len(self._links)):
            name = self._links.get(name, name)
            if name in self._sizes:
                return name
        return None

    def unpack(self, progress: Progress) -> int:
        """Writes the files that are not there, and adds what goes wrong to the problems.

        Returns:
            How many files were written.

        Raises:
            OSError: the disk is full.
        """
        task = progress.add_task(escape(self.archive.name), total=self.needed)
        written: set[str] = set()

        def write(name: str, size: int, source: Callable[[], Any]) -> None:
            # The last one of a name counts.
            if name not in written and _is_there(self.out / name, size):
                return
            try:
                _write(self.out / name, source)
            except Exception as error:  # zipfile raises many kinds for a damaged file
                if is_disk_error(error):
                    raise
                self.problems.append(f'{self.archive}: {name}: {error}')
            else:
                written.add(name)
            progress.advance(task, size)

        with open(self.archive, 'rb') as raw:
            for member in _members(self.archive, raw):
                if member.open:
                    write(member.name, member.size, member.open)
        for name, target in self._links.items():
            write(name, self._sizes[target], partial(open, self.out / target, 'rb'))
        return len(written)


def _check_place(out: Path, name: str, archive: Path) -> None:
    """Makes sure that a member goes below the folder."""
    if '\0' in name or out.resolve() not in (out / name).resolve().parents:
        raise ValueError(f'{archive}: its member {name!r} does not go below {out}')


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _write(target: Path, opener: Callable[[], Any]) -> None:
    """Writes a file whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f'.{target.name}.tmp')
    source = opener()
    assert source is not None
    with replacing(target, unfinished), source, open(unfinished, 'wb') as file:
        shutil.copyfileobj(source, file, 1 << 20)


def _members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    """Every file and link in an archive."""
    try:
        yield from _zip_members(raw) if _is_zip(raw) else _tar_members(raw)
    except Exception as error:  # the decoders raise many kinds for a damaged archive
        raise ValueError(
            f'{archive}: cut off, damaged, or no zip or tar archive ({error})'
        ) from error


def _is_zip(raw: IO[bytes]) -> bool:
    """Whether an archive is a zip, by its beginning: a tar may end in one, its last member."""
    raw.seek(0)
    start = raw.read(tarfile.BLOCKSIZE)
    if start.startswith(_ZIP_MAGICS):
        return True
    if start[257:262] == b'ustar' or _decompressor(start) is not open:
        return False
    # One that unpacks itself begins with a program.
    return zipfile.is_zipfile(raw)


def _decompressor(start: bytes) -> Callable[..., Any]:
    return next(opener for magic, opener in _DECOMPRESSORS.items() if start.startswith(magic))


def _zip_members(raw: IO[bytes]) -> Iterator[_Member]:
    if not zipfile.is_zipfile(raw):
        raise ValueError('a zip archive without its end')
    with zipfile.ZipFile(raw) as zipped:
        for info in zipped.infolist():
            name = posixpath.normpath(info.filename)
            if stat.S_ISLNK(info.external_attr >> 16):
                # Its content is where it leads to.
                yield _Member(name, link=_relative(name, zipped.read(info).decode()))
            elif not info.is_dir():
                yield _Member(name, info.file_size, open=partial(zipped.open, info))


def _tar_members(raw: IO[bytes]) -> Iterator[_Member]:
    raw.seek(0)
    decompress = _decompressor(raw.read(8))
    raw.seek(0)
    stream = raw if decompress is open else decompress(raw)
    # Not mode 'r|gz', which does not compare gzip's checksum.
    with tarfile.open(fileobj=stream, mode='r:', tarinfo=_StrictTarInfo) as tar:
        for member in tar:
            name = posixpath.normpath(member.name)
            if member.isfile():
                yield _Member(name, member.size, open=partial(tar.extractfile, member))
            elif member.islnk():
                yield _Member(name, link=posixpath.normpath(member.linkname))
            elif member.issym():
                yield _Member(name, link=_relative(name, member.linkname))
            elif not member.isdir():
                yield _Member(name)
        # The checksum stands at the end.
        while stream.read(1 << 20):
            pass


def _relative(name: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
