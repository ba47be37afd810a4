"""Files that mmengine writes, where a kill or a full disk comes in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.fileio import LocalBackend, get_file_backend, put, put_text
from processes import run_loaded

import ddf_seg.openmmlab  # noqa: F401
from ddf_seg._compat import writing

# A file that may have 1000 bytes is as good as a disk that has no more.
WRITE = """
import resource, signal
from mmengine.fileio import put
{mend}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    put(bytes(5000), {path!r})
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize('mended', [False, True])
def test_a_file_that_cannot_be_written_whole(tmp_path: Path, mended: bool) -> None:
    path = tmp_path / 'iter_2.pth'
    path.write_bytes(b'whole')
    mend = 'from ddf_seg._compat.writing import mend_writing; mend_writing()' if mended else ''
    result = run_loaded(WRITE.format(mend=mend, path=str(path)))
    assert result.returncode == 0, result.stderr
    wanted = ', 5,000 bytes wanted' if mended else ''
    assert result.stdout.strip() == f'File too large{wanted}'
    # Without the mend, a part of the new one is all there is.
    assert path.read_bytes() == (b'whole' if mended else bytes(1000))
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / 'iter_2.pth'
    put(b'old', path)

    def kill(descriptor: int) -> None:
        # Written, but not flushed yet
        assert path.read_bytes() == b'old'
        raise KeyboardInterrupt

    monkeypatch.setattr(os, 'fsync', kill)
    with pytest.raises(KeyboardInterrupt):
        put(b'new', path)
    monkeypatch.undo()
    assert path.read_bytes() == b'old'
    # What a real kill leaves does not stand in the way.
    (tmp_path / 'iter_2.pth.tmp').write_bytes(b'ne')
    put(b'new', path)
    assert path.read_bytes() == b'new'
    assert list(tmp_path.iterdir()) == [path]


def test_it_writes_as_mmengine_does(tmp_path: Path) -> None:
    assert type(get_file_backend('')) is writing.WholeFileBackend
    path = tmp_path / 'new' / 'text'
    put_text('Straße', path, backend_args={'backend': 'local'})
    expected = tmp_path / 'expected' / 'text'
    LocalBackend().put_text('Straße', expected)
    assert path.read_bytes() == expected.read_bytes()
    assert path.stat().st_mode == expected.stat().st_mode
    link = tmp_path / 'link'
    link.symlink_to(path)
    put(b'through the link', link)
    assert link.is_symlink()
    assert path.read_bytes() == b'through the link'
    put(b'nowhere', '/dev/null')
    assert not Path('/dev/null').is_file()
