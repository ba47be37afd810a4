"""Converters may be interrupted, go on where they were, and touch no original."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import namedtuple
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddf_seg.annotations import Job, convert, exit_code, id_map, map_ids
from ddf_seg.annotations.converting import find, write_png, write_whole

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
    (kitti / 'out/.x.png.1.tmp').touch()  # left by a kill
    assert convert(FUNCTION, jobs) == 7
    assert convert(FUNCTION, jobs) == 0
    files = set((kitti / 'out').iterdir())
    assert len(files) == 12
    assert all(file.stat().st_mtime_ns == before[file] for file in before)
    with Image.open(kitti / 'out/000003_10.png') as image:
        assert np.array(image).tolist() == np.ones((8, 9)).tolist()


def test_damaged_sources_do_not_stop_the_others(kitti: Path) -> None:
    for index in (0, 4):
        (kitti / f'training/semantic/{index:06d}_10.png').write_bytes(b'')
    with pytest.raises(ValueError, match=r'2 of 12 files could not be .*\n.*000000_10\.png') as e:
        convert(FUNCTION, make_jobs(kitti))
    assert '000004_10.png' in str(e.value)
    assert len(list((kitti / 'out').iterdir())) == 10


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


def test_errors_become_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def convert_nothing() -> None:
        find(tmp_path / 'no', '*_L.png')

    assert exit_code(convert_nothing) == 1
    error = capsys.readouterr().err
    assert error == f'error: expected *_L.png in {tmp_path / "no"}, which does not exist\n'

    def interrupted() -> None:
        raise KeyboardInterrupt

    assert exit_code(interrupted) == 130
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


def run_unpack(*arguments: object) -> tuple[int, str]:
    command = [sys.executable, TOOLS / 'unpack.py', *arguments]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=400)
    return result.returncode, result.stdout + result.stderr


def test_unpacking(tmp_path: Path) -> None:
    (tmp_path / 'a').write_bytes(b'first')
    archive, tar = tmp_path / 'x.zip', tmp_path / 'y.tar.gz'
    with zipfile.ZipFile(archive, 'w') as zipped:
        zipped.write(tmp_path / 'a', 'images/train/a.png')
        zipped.writestr('images/train/b.png', b'second')
    with tarfile.open(tar, 'w:gz') as tarred:
        tarred.add(tmp_path / 'a', 'labels/a.png')
    out = tmp_path / 'out'
    (out / 'images/train').mkdir(parents=True)
    # Half of it, from a run that was killed before files were written whole
    (out / 'images/train/b.png').write_bytes(b'sec')
    code, text = run_unpack(archive, tar, '--out', out)
    assert code == 0, text
    assert f'{out}: 3 files written' in text
    assert (out / 'images/train/b.png').read_bytes() == b'second'
    assert (out / 'labels/a.png').read_bytes() == b'first'
    with zipfile.ZipFile(archive, 'a') as zipped:
        zipped.writestr('../b.png', b'out of the folder')
    code, text = run_unpack(archive, tar, '--out', out)
    assert code == 1
    assert "member '../b.png' leads out of" in text
    assert not (tmp_path / 'b.png').exists()
