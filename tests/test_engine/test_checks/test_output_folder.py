from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ddf_seg.engine.checks.output_folder import LOCK, check_folder, lock
from ddf_seg.errors import UsageError

# Takes the lock on its own, and holds it until it is killed or told to end.
HOLDER = """
import fcntl, os, sys
file = open(sys.argv[1], 'a+')
fcntl.lockf(file, fcntl.LOCK_EX)
file.write(f'process {os.getpid()} on some host')
file.flush()
if os.fork() > 0:  # the other is as a data worker, which outlives it
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_what_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'file'
    file.write_text('kept')
    with pytest.raises(UsageError, match=f'--out: expected a folder, but {file} is a file'):
        check_folder(file, '--out')
    below = file / 'a' / 'b'
    with pytest.raises(UsageError, match=f'{below} lies below {file}, which is a file'):
        check_folder(below, '--out')
    assert file.read_text() == 'kept'
    # Not even the superuser can write there.
    with pytest.raises(UsageError, match='--work-dir: /proc/new cannot be written to: '):
        check_folder('/proc/new', '--work-dir')
    check_folder(tmp_path / 'new' / 'one', '--out')
    assert list((tmp_path / 'new' / 'one').iterdir()) == []


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_full_disk_is_found_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every file that the check makes is on a full device.
    monkeypatch.setattr(
        'tempfile.TemporaryFile',
        lambda dir: open('/dev/full', 'wb', buffering=0),  # noqa: SIM115
    )
    with pytest.raises(UsageError, match=f'{tmp_path} cannot be written to: No space left'):
        check_folder(tmp_path, '--work-dir')


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    command = [sys.executable, '-c', HOLDER, str(tmp_path / LOCK)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    pid = holder.stdout.readline().strip()
    with pytest.raises(UsageError, match=f'in use by process {pid} on some host'):
        lock(tmp_path)
    holder.kill()
    holder.wait()
    file = lock(tmp_path)
    assert file is not None
    assert (tmp_path / LOCK).read_text().startswith(f'process {os.getpid()} on ')
    # The worker ends with its input.
    assert holder.stdin is not None
    holder.stdin.close()
    holder.stdout.close()
    file.close()
