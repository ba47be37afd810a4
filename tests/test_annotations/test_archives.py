"""An archive is unpacked whole, or named with what is wrong; the others are unpacked."""

from __future__ import annotations

import io
import runpy
import shutil
import sys
import tarfile
import zipfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / 'tools/dataset_converters/unpack.py'
Unpack = Callable[..., tuple[int, str]]


@pytest.fixture
def unpack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Unpack:
    """Runs the tool on archives; returns exit code and output. It writes to tmp_path/out."""

    def run(*archives: Path) -> tuple[int, str]:
        arguments = [*map(str, archives), '--out', str(tmp_path / 'out')]
        monkeypatch.setattr(sys, 'argv', [str(SCRIPT), *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name='__main__')
        output = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, output.out + output.err

    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six files that hardly compress."""
    folder = tmp_path / 'source'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(6):
        (folder / f'{index}.png').write_bytes(rng.bytes(3000 + index))
    return folder


def pack(source: Path, name: str) -> Path:
    archive = source.parent / name
    files = sorted(source.iterdir())
    if name.endswith('.zip'):
        with zipfile.ZipFile(archive, 'w') as zipped:
            for file in files:
                zipped.write(file, f'images/{file.name}')
    else:
        compression = name.rpartition('.tar')[2].lstrip('.')
        # As the program tar writes; Python's own format has two headers a file.
        with tarfile.open(archive, f'w:{compression}', format=tarfile.GNU_FORMAT) as tar:  # type: ignore[call-overload]
            for file in files:
                tar.add(file, f'images/{file.name}')
    return archive


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob('*')
        if file.is_file()
    }


def expected(source: Path) -> dict[str, bytes]:
    return {f'images/{name}': content for name, content in contents(source).items()}


@pytest.mark.parametrize('kind', ['zip', 'tar', 'tar.gz', 'tar.bz2', 'tar.xz'])
def test_unpacking(source: Path, tmp_path: Path, unpack: Unpack, kind: str) -> None:
    archive = pack(source, f'a [1].{kind}')
    # Half of it, from a run that was killed before files were written whole
    (tmp_path / 'out/images').mkdir(parents=True)
    (tmp_path / 'out/images/2.png').write_bytes(b'sec')
    (tmp_path / 'out/images/3.png').write_bytes((source / '3.png').read_bytes())
    code, text = unpack(archive)
    assert code == 0, text
    assert f'{tmp_path / "out"}: 5 files written' in text
    assert contents(tmp_path / 'out') == expected(source)
    assert 'out: 0 files written' in unpack(archive)[1]


def test_a_tar_is_known_by_its_beginning(source: Path, tmp_path: Path, unpack: Unpack) -> None:
    """Not by the zip that it ends in, nor by a name that begins as a zip does."""
    inner = pack(source, 'inner.zip')
    (source / 'PKLot.png').write_bytes(b'first')
    archive = tmp_path / 'a.tar'
    with tarfile.open(archive, 'w') as tar:
        tar.add(source / 'PKLot.png', 'PKLot.png')
        tar.add(source / '0.png', '0.png')
        tar.add(inner, 'inner.zip')
    assert zipfile.is_zipfile(archive)
    code, text = unpack(archive)
    assert code == 0, text
    members = [source / 'PKLot.png', source / '0.png', inner]
    assert contents(tmp_path / 'out') == {file.name: file.read_bytes() for file in members}


def test_a_zip_that_unpacks_itself(source: Path, tmp_path: Path, unpack: Unpack) -> None:
    archive = pack(source, 'a.zip')
    archive.write_bytes(b'#!/bin/sh\n' + bytes(600) + archive.read_bytes())
    assert unpack(archive)[0] == 0
    assert contents(tmp_path / 'out') == expected(source)


@pytest.mark.parametrize('kind', ['tar', 'tar.gz', 'tar.bz2', 'tar.xz', 'zip'])
@pytest.mark.parametrize('fault', ['cut', 'flipped'])
def test_a_damaged_archive_is_named_and_stops_no_other(
    source: Path, tmp_path: Path, unpack: Unpack, kind: str, fault: str
) -> None:
    damaged = pack(source, f'damaged.{kind}')
    content = bytearray(damaged.read_bytes())
    if fault == 'cut':
        content = content[: len(content) * 2 // 3]
    else:
        # A tar has no checksum of what is in its files.
        place = content.index(b'images/3.png') if kind == 'tar' else len(content) // 2
        content[place] ^= 16
    damaged.write_bytes(content)
    (source / 'of the other').write_bytes(b'x')
    sound = pack(source, 'sound.tar')
    (source / 'of the other').unlink()
    code, text = unpack(damaged, sound, tmp_path / 'no.zip')
    assert code == 1
    assert f'{damaged}: ' in text
    assert 'no.zip' in text
    assert contents(tmp_path / 'out') == {**expected(source), 'images/of the other': b'x'}
    shutil.rmtree(tmp_path / 'out')
    assert unpack(damaged)[0] == 1
    left = contents(tmp_path / 'out')
    if (kind, fault) == ('zip', 'flipped'):
        # Only the file that the flipped bit is in
        assert len(left) == 5
        assert left.items() < expected(source).items()
        assert 'images/3.png: Bad CRC-32' in text
    else:
        assert left == {}


def test_a_tar_that_is_cut_between_two_files(source: Path, unpack: Unpack) -> None:
    archive = pack(source, 'a.tar')
    content = archive.read_bytes()
    archive.write_bytes(content[: content.rindex(b'images/5.png')])
    code, text = unpack(archive)
    assert code == 1
    assert f'{archive}: cut off' in text


def add_link(tar: tarfile.TarFile, name: str, target: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    tar.addfile(member)


def test_links_become_copies_and_what_cannot_is_said(
    source: Path, tmp_path: Path, unpack: Unpack
) -> None:
    archive = pack(source, 'a.tar')
    with tarfile.open(archive, 'a') as tar:
        add_link(tar, 'first/hard.png', 'images/1.png', tarfile.LNKTYPE)
        add_link(tar, 'first/soft.png', '../images/2.png', tarfile.SYMTYPE)
        add_link(tar, 'chain.png', 'first/soft.png', tarfile.SYMTYPE)
    code, text = unpack(archive)
    assert code == 0, text
    links = {'first/hard.png': '1', 'first/soft.png': '2', 'chain.png': '2'}
    copies = {name: (source / f'{index}.png').read_bytes() for name, index in links.items()}
    assert contents(tmp_path / 'out') == expected(source) | copies
    assert not any(path.is_symlink() for path in (tmp_path / 'out').rglob('*'))
    with tarfile.open(archive, 'a') as tar:
        add_link(tar, 'out.png', '/etc/passwd', tarfile.SYMTYPE)
        add_link(tar, 'ring.png', 'ring.png', tarfile.SYMTYPE)
        add_link(tar, 'device', '', tarfile.CHRTYPE)
    code, text = unpack(archive)
    assert code == 1
    assert '3 archives or members could not be unpacked' in text
    for part in ('out.png is a link to /etc/passwd', 'ring.png is a link', 'device is neither'):
        assert f'{archive}: {part}' in text


def test_a_link_in_a_zip(tmp_path: Path, unpack: Unpack) -> None:
    archive = tmp_path / 'a.zip'
    with zipfile.ZipFile(archive, 'w') as zipped:
        info = zipfile.ZipInfo('labels/b.png')
        info.external_attr = 0o120777 << 16
        zipped.writestr(info, '../images/a.png')
        zipped.writestr('images/a.png', b'content')
    assert unpack(archive)[0] == 0
    assert (tmp_path / 'out/labels/b.png').read_bytes() == b'content'


@pytest.mark.parametrize('name', ['../b.png', '.', 'images/..', '/b.png'])
def test_nothing_is_written_beside_the_folder(tmp_path: Path, unpack: Unpack, name: str) -> None:
    archive = tmp_path / 'a.tar'
    with tarfile.open(archive, 'w') as tar:
        member = tarfile.TarInfo(name)
        member.size = 3
        tar.addfile(member, io.BytesIO(b'abc'))
    before = set(tmp_path.iterdir()) | {tmp_path / 'out'}
    code, text = unpack(archive)
    assert code == 1
    assert f'{archive}: its member ' in text
    assert set(tmp_path.iterdir()) == before
    assert contents(tmp_path / 'out') == {}


def test_a_bomb_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, unpack: Unpack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(6):
        (source / f'{index}.png').write_bytes(bytes(2_000_000))
    archive = pack(source, 'a.tar.gz')
    assert archive.stat().st_size < 20_000
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(9, 9, 10_000_000))
    code, text = unpack(archive)
    assert code == 1
    assert 'expected room for about' in text
    assert contents(tmp_path / 'out') == {}


def test_the_last_one_of_a_name_counts(tmp_path: Path, unpack: Unpack) -> None:
    archive = tmp_path / 'a.tar'
    with tarfile.open(archive, 'w') as tar:
        for content in (b'old', b'new'):
            member = tarfile.TarInfo('./a/b.png')
            member.size = 3
            tar.addfile(member, io.BytesIO(content))
    assert unpack(archive)[0] == 0
    assert contents(tmp_path / 'out') == {'a/b.png': b'new'}
