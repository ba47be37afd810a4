"""Converters may be interrupted, go on where they were, and touch no original."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import run_ok

from ddf_seg.annotations import Job, convert, converter, id_map, map_ids, write_list
from ddf_seg.annotations.converting import find, write_png
from ddf_seg.command_line import show_usage_errors
from ddf_seg.files import write_whole

TOOLS = Path(__file__).parents[2] / 'tools/dataset_converters'
FUNCTION = partial(map_ids, indices=id_map('cityscapes_ids'))


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    folder = tmp_path / 'training/semantic'
    folder.mkdir(parents=True)
    for index in range(12):
        Image.fromarray(np.full((8, 9), 7 + index % 2, np.uint8)).save(
            folder / f'{index:06d}_10.png'
        )
    return tmp_path


def make_jobs(root: Path) -> list[Job]:
    return [Job(file, root / 'out' / file.name) for file in find(root / 'training', '*.png')]


def test_what_is_there_is_left_out(kitti: Path) -> None:
    jobs = make_jobs(kitti)
    assert convert(FUNCTION, jobs[:5]) == 5
    before = {file: file.stat().st_mtime_ns for file in (kitti / 'out').iterdir()}
    assert convert(FUNCTION, jobs) == 7
    assert convert(FUNCTION, jobs) == 0
    files = set((kitti / 'out').iterdir())
    assert len(files) == 12
    assert all(file.stat().st_mtime_ns == before[file] for file in before)
    with Image.open(kitti / 'out/000003_10.png') as image:
        assert np.array(image).tolist() == np.ones((8, 9)).tolist()


def test_only_what_killed_processes_left_is_removed(kitti: Path) -> None:
    out = kitti / 'out'
    out.mkdir()
    left = run_ok(f"""
        import os
        from pathlib import Path
        from ddf_seg.files import write_whole
        def killed(path, content):
            open(path, 'wb').close()
            print('{{}}', flush=True)
            os._exit(0)
        Path.write_bytes = killed
        write_whole(Path({str(out)!r}) / 'a.png', b'')
    """)
    assert left == {}
    (unfinished,) = out.iterdir()
    # Of another run that is about to finish its file, and of somebody else
    others = {out / f'.{os.getpid()}-1.tmp', out / '.mine.tmp', out / '.x-1.tmp', out / 'y.tmp'}
    for file in others:
        file.touch()
    convert(FUNCTION, make_jobs(kitti))
    assert not unfinished.exists()
    assert {file for file in out.iterdir() if file.suffix == '.tmp'} == others


def test_damaged_sources_do_not_stop_the_others(kitti: Path) -> None:
    for index in (0, 4):
        (kitti / f'training/semantic/{index:06d}_10.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'2 of 12 files could not be .*\n.*000000_10\.png') as e:
        convert(FUNCTION, make_jobs(kitti))
    assert '000004_10.png' in str(e.value)
    assert len(list((kitti / 'out').iterdir())) == 10


def fail(path: Path) -> np.ndarray:
    """As decoders fail for damaged files: with any exception, without a name."""
    raise {0: KeyError('label'), 1: IndexError('9'), 2: MemoryError()}[int(path.name[5]) % 3]


def test_no_exception_stops_the_others_or_hides_the_name(kitti: Path) -> None:
    jobs = make_jobs(kitti)
    with pytest.raises(ValueError, match='12 of 12 files') as raised:
        convert(fail, jobs)
    lines = str(raised.value).splitlines()
    assert lines[1] == f"  {jobs[0].source}: KeyError: 'label'"
    assert lines[3] == f'  {jobs[2].source}: MemoryError: '
    assert lines[-1] == '  … and 7 more'


def test_a_full_disk_ends_the_run(kitti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device', str(path))

    monkeypatch.setattr('ddf_seg.annotations.converting.write_whole', full)
    with pytest.raises(OSError, match=r'No space left .*000000_10\.png'):
        convert(FUNCTION, make_jobs(kitti))


def test_a_full_disk_is_seen_beforehand(kitti: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(9, 9, 100))
    with pytest.raises(OSError, match=r'expected room for about .* GB, got 0\.0 GB'):
        convert(FUNCTION, make_jobs(kitti))
    assert len(list((kitti / 'out').iterdir())) == 1


def test_files_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / 'a', b'before')
    monkeypatch.setattr(Path, 'replace', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / 'a', b'after')
    assert (tmp_path / 'a').read_bytes() == b'before'
    with pytest.raises(ValueError, match=r'b\.png: expected an image, got .*\(3, 0\)'):
        write_png(tmp_path / 'b.png', np.zeros((3, 0), np.uint8))


def test_what_counts_as_a_file(kitti: Path) -> None:
    folder = kitti / 'training'
    elsewhere = kitti / 'disk'
    elsewhere.mkdir()
    shutil.move(folder / 'semantic/000003_10.png', elsewhere)
    (folder / 'linked').symlink_to(elsewhere)
    (folder / 'semantic/round').symlink_to(folder)
    (folder / 'semantic/._000000_10.png').touch()
    (folder / '.checkpoints').mkdir()
    (folder / '.checkpoints/000001_10.png').touch()
    (folder / 'semantic/folder_10.png').mkdir()
    (folder / 'semantic/lost_10.png').symlink_to(kitti / 'nowhere')
    found = find(folder, '*_10.png')
    names = [f'{index:06d}_10.png' for index in range(12) if index != 3]
    assert found == [
        folder / 'linked/000003_10.png',
        *(folder / 'semantic' / name for name in names),
        # Whoever reads it says that it leads nowhere.
        folder / 'semantic/lost_10.png',
    ]
    (folder / 'semantic/000000_10.png').rename(folder / 'semantic/000000_10.PNG')
    with pytest.raises(ValueError, match=r'1 file would match \*_10.png in .*000000_10\.PNG'):
        find(folder, '*_10.png')


def test_lists_are_utf_8(tmp_path: Path) -> None:
    write_list(tmp_path / 'a.txt', ['Köln', '東京'])
    assert (tmp_path / 'a.txt').read_text(encoding='utf-8') == 'Köln\n東京\n'
    with pytest.raises(ValueError, match=r"a\.txt: 'b\\udcff' is not UTF-8"):
        write_list(tmp_path / 'a.txt', ['a', os.fsdecode(b'b\xff'), 'c'])


def test_errors_become_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def convert_nothing() -> None:
        find(tmp_path / 'no', '*_L.png')

    assert show_usage_errors(converter(convert_nothing)) == 1
    error = capsys.readouterr().err
    assert error == f'error: expected *_L.png in {tmp_path / "no"}, which does not exist\n'

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert show_usage_errors(converter(interrupted)) == 130
    assert 'run it again' in capsys.readouterr().err


def test_several_processes_killed_and_run_again(kitti: Path) -> None:
    for index in range(12, 2000):
        source = kitti / f'training/semantic/{index % 12:06d}_10.png'
        os.link(source, kitti / f'training/semantic/{index:06d}_10.png')
    command = [sys.executable, str(TOOLS / 'kitti.py'), str(kitti), '--jobs', '2']
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    out = kitti / 'training/semantic_train_ids'
    deadline = time.monotonic() + 200
    while process.poll() is None and (not out.exists() or len(os.listdir(out)) < 20):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert finished.returncode == 0, finished.stderr
    files = sorted(out.iterdir())
    assert len(files) == 2000
    for file in files[::50]:
        with Image.open(file) as image:
            assert set(np.array(image).ravel().tolist()) <= {0, 1}
    assert len((kitti / 'splits/train.txt').read_text().split()) == 2000 - 50
