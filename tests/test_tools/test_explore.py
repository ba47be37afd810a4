"""Pages on demand: the command as users run it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from processes import Started

from ddf_seg.cli import explore
from ddf_seg.command_line import INTERRUPTED, show_usage_errors

NETWORK = ['ddf_seg::ddf_camvid_trainval_finetune.py', 'ddf_seg::ddf_camvid.pth']


def fetch(address: str, host: str | None = None) -> bytes:
    request = urllib.request.Request(address, headers={'Host': host} if host else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def start(*arguments: object) -> Started:
    return Started(f"""
        from ddf_seg.cli import main
        sys.argv = ['ddf-seg', 'explore', *{[*NETWORK, *map(str, arguments)]}]
        sys.exit(main())
    """)


def test_pages_on_demand_until_ctrl_c(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / 'a <street>.png'), image)
    with start(tmp_path, '--port', 0, '--device', 'cpu') as process:
        address = process.wait_for(r'1 image at (http://127\.0\.0\.1:\d+/)')[1]
        listed = fetch(address).decode()
        assert 'a &lt;street&gt;.png' in listed
        assert '<h1>Filters of 1 image</h1>' in listed
        pages = re.findall(r'href="/page/(\d+)"', listed)
        number = pages[0]
        small = cv2.imdecode(np.frombuffer(fetch(f'{address}picture/{number}'), np.uint8), 1)
        assert small.shape == image.shape
        # First a page that waits, then the page.
        assert 'All images' in fetch(f'{address}page/{number}').decode()
        steps = set()
        end = time.monotonic() + 120
        while not (status := json.loads(fetch(f'{address}status/{number}')))['done']:
            assert status['error'] is None
            steps.add(status['step'])
            assert time.monotonic() < end
            time.sleep(0.05)
        assert steps <= {'waiting', 'running the network', 'packing the filters'}
        page = fetch(f'{address}page/{number}').decode()
        assert 'ddf_camvid.pth on a &lt;street&gt;.png' in page
        assert '"size":[96,128]' in page
        for wrong in ('page/99', 'page/-1', 'page/x', 'etc/passwd', 'page/../../etc/passwd'):
            with pytest.raises(urllib.error.HTTPError, match='404'):
                fetch(address + wrong)
        # As browsers do at port 80
        assert fetch(address, 'localhost') == fetch(address)
        # Under another name, as a foreign web page might try
        with pytest.raises(urllib.error.HTTPError, match='403'):
            fetch(address, 'example.org:80')
        os.kill(process.process.pid, signal.SIGINT)
        done = process.wait()
        said = done.stderr
        assert done.returncode == INTERRUPTED
        assert said.endswith('\ninterrupted\n')
        assert 'Traceback' not in said
        # It says which image took how long.
        assert re.search(r'a <street>\.png: \d+\.\d s', said)


def test_a_port_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cv2.imwrite(str(tmp_path / 'street.png'), np.zeros((8, 8, 3), np.uint8))
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        words = ['explore', *NETWORK, str(tmp_path), '--port', str(taken.getsockname()[1])]
        monkeypatch.setattr(sys, 'argv', words)
        assert show_usage_errors(explore.main) == 1
    said = capsys.readouterr().err
    assert 'error: --port' in said
    assert 'Address already in use' in said
