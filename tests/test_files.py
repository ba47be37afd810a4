"""Work in several processes ends, whatever becomes of one of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddf_seg.files import (
    files_below,
    mapped,
    remove_unfinished,
    unfinished_beside,
    write_whole,
)

SLEEPERS = """
import multiprocessing, os, sys, time
from ddf_seg.files import mapped

def sleep(index):
    os.write(1, b'%d\\n' % os.getpid())  # whole lines, whoever writes at the same time
    time.sleep(100)

with mapped(sleep, range(4), 2, multiprocessing.get_context('fork')) as results:
    list(results)
"""


def square(value: int) -> int:
    return value * value


def killed_at_7(value: int) -> int:
    if value == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def test_unfinished_files_of_running_processes_stay(tmp_path: Path) -> None:
    sleep = [sys.executable, '-c', 'import time; time.sleep(100)']
    processes = [subprocess.Popen(sleep) for _ in range(3)]
    running, killed, reaped = (tmp_path / f'.{process.pid}-1.tmp' for process in processes)
    for process in processes[1:]:
        process.kill()
    processes[2].wait()
    # This one has ended, and nobody has asked for its exit code.
    while is_running(processes[1].pid):
        time.sleep(0.01)
    others = {tmp_path / name for name in ('.a.tmp', f'.{10**30}-x.tmp', '.1-1.tmp', '1-1.tmp')}
    for file in (running, killed, reaped, tmp_path / f'.{10**30}-1.tmp', *others):
        file.touch()
    try:
        remove_unfinished(tmp_path)
        assert set(tmp_path.iterdir()) == {running, *others}
    finally:
        for process in processes[:2]:
            process.kill()
            process.wait()


@pytest.mark.parametrize('processes', [1, 3])
def test_results_come_in_order(processes: int) -> None:
    context = multiprocessing.get_context('fork')
    with mapped(square, range(1000), processes, context) as results:
        assert list(results) == [value * value for value in range(1000)]


def test_a_killed_process_is_an_error() -> None:
    context = multiprocessing.get_context('fork')
    with (
        pytest.raises(OSError, match=r'one of 2 processes was killed.*--jobs 1'),
        mapped(killed_at_7, range(40), 2, context) as results,
    ):
        list(results)


def is_running(process: int) -> bool:
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads /proc, which is not here')
def test_no_process_outlives_a_killed_parent() -> None:
    process = subprocess.Popen([sys.executable, '-c', SLEEPERS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    children = [int(process.stdout.readline()) for _ in range(2)]
    assert all(map(is_running, children))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    try:
        while any(map(is_running, children)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        for child in filter(is_running, children):
            os.kill(child, signal.SIGKILL)


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='nowhere'):
        files_below(tmp_path / 'nowhere')


def test_several_threads_write_to_a_folder(tmp_path: Path) -> None:
    def write(index: int) -> None:
        write_whole(tmp_path / f'{index}.txt', b'%d' % index * 1000)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(200)))
    for index in range(200):
        assert (tmp_path / f'{index}.txt').read_bytes() == b'%d' % index * 1000
    assert len(list(tmp_path.iterdir())) == 200


def test_two_that_write_one_file_do_not_share_what_is_unfinished(tmp_path: Path) -> None:
    path = tmp_path / 'network.xml'
    with ThreadPoolExecutor(1) as other:
        names = [unfinished_beside(path, '.xml'), other.submit(unfinished_beside, path).result()]
    own = f'.{os.getpid()}-'
    assert names[0] != names[1].with_suffix('.xml')
    assert all(name.parent == tmp_path and name.name.startswith(own) for name in names)
    assert [name.suffix for name in names] == ['.xml', '.tmp']
