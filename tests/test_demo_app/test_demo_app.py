"""The page's server, started as its users start it, against the predictor."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip('tornado', reason='Tornado is not installed')

import ddf_seg.openmmlab  # noqa: F401 isort: skip
from mmseg.apis import inference_model
from processes import Started
from tornado.httpclient import AsyncHTTPClient
from tornado.netutil import bind_sockets

from ddf_seg.cli import predict
from ddf_seg.command_line import INTERRUPTED
from ddf_seg.demo_app import Demo, segmenting, serve, server
from ddf_seg.demo_app.segmenting import Shown
from ddf_seg.demo_app.server import MOST_WAITING, make_server
from ddf_seg.engine.images.reading import UnreadableError
from ddf_seg.engine.predicting.drawing import Drawing
from ddf_seg.errors import UsageError
from road_scenes.dataset import write_pictures


@pytest.fixture(scope='module')
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('street')
    write_pictures(folder, 1, (96, 128))
    return next(iter(sorted(folder.glob('*.png'))))


@pytest.fixture(scope='module')
def backend() -> Any:
    arguments = ['predict', predict.DEMO_CONFIG, predict.DEMO_CHECKPOINT, 'none']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', arguments)
        return predict.load_backend(predict.parse_args())


def drawing_of(backend: Any) -> Drawing:
    return Drawing(backend.classes.names, backend.classes.palette, 0.5)


@pytest.fixture(scope='module')
def address() -> Iterator[str]:
    code = """
        from ddf_seg.cli import main
        sys.argv = ['ddf-seg', 'demo-app', '--port', '0', '--max-size', '160']
        sys.exit(main())
    """
    with Started(code) as process:
        # mmengine says before what it loads.
        yield process.wait_for(r'(?m)^open (http://127\.0\.0\.1:\S+)\s')[1]
        # As at a terminal, with the exit code of all commands
        os.kill(process.process.pid, signal.SIGINT)
        assert process.wait().returncode == INTERRUPTED


def form(content: bytes, name: str) -> tuple[bytes, dict[str, str]]:
    """An upload, as browsers send it: body and headers."""
    boundary = b'--limit'
    head = f'Content-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
    body = b'--' + boundary + b'\r\n' + head + content + b'\r\n--' + boundary + b'--\r\n'
    return body, {'Content-Type': f'multipart/form-data; boundary={boundary.decode()}'}


def post(address: str, content: bytes, name: str = 'street.png') -> Any:
    body, kind = form(content, name)
    request = urllib.request.Request(f'{address}segment', body, kind)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def get(address: str, path: str = '') -> bytes:
    with urllib.request.urlopen(address + path, timeout=60) as response:
        return bytes(response.read())


def refused(call: Any) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        call()
    with caught.value as error:
        return error.code, json.load(error)['error']


def test_an_image_comes_back_as_the_predictor_segments_it(
    address: str, street: Path, backend: Any
) -> None:
    assert b'Drop a picture' in get(address)
    shown = post(address, street.read_bytes(), '<i>street.png')
    image = cv2.imread(str(street))
    ids = inference_model(backend.model, image).pred_sem_seg.data[0].numpy()
    coloured = backend.classes.palette[ids][..., ::-1]
    overlay = image.astype(float) / 2 + coloured.astype(float) / 2
    links = shown['links']

    def picture(what: str) -> np.ndarray:
        return cv2.imdecode(
            np.frombuffer(get(address, links[what]), np.uint8), cv2.IMREAD_UNCHANGED
        )

    np.testing.assert_array_equal(picture('ids.png'), ids)
    np.testing.assert_allclose(picture('overlay.png'), overlay, atol=1)
    assert (shown['height'], shown['width']) == ids.shape
    names, counts = np.unique(ids, return_counts=True)
    expected = {backend.classes.names[i]: n / ids.size for i, n in zip(names, counts, strict=True)}
    assert {c['name']: c['share'] for c in shown['classes']} == pytest.approx(expected)
    shares = [c['share'] for c in shown['classes']]
    assert shares == sorted(shares, reverse=True)
    page = get(address, links['filters.html']).decode()
    assert 'decode_head.upsamples.0.ddf_up' in page
    assert '&lt;i&gt;street.png' in page
    assert '<i>street.png' not in page


def test_large_images_are_shrunk(address: str, street: Path) -> None:
    large = cv2.resize(cv2.imread(str(street)), (640, 480))
    shown = post(address, cv2.imencode('.jpg', large)[1].tobytes())
    assert (shown['width'], shown['height']) == (160, 120)


def test_mistakes_are_said(address: str, street: Path) -> None:
    code, message = refused(lambda: post(address, b'no image', 'a/b.png'))
    assert code == 400
    assert message.startswith('b.png: no image, or its beginning is damaged')
    code, message = refused(lambda: post(address, b''))
    assert (code, message) == (400, 'street.png: empty file')
    code, message = refused(lambda: get(address, 'shown/none/ids.png'))
    assert (code, message) == (404, 'this image is not kept any more')
    request = urllib.request.Request(f'{address}segment', b'')
    code, message = refused(lambda: urllib.request.urlopen(request, timeout=60))
    assert code == 400
    assert 'expected an image file in the field "image"' in message
    assert refused(lambda: get(address, 'segment')) == (405, '405: Method Not Allowed')
    # It still answers.
    assert post(address, street.read_bytes())['classes']


def test_old_images_are_forgotten_and_huge_ones_refused(
    street: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Demo(backend, drawing_of(backend), kept=2)
    keys = [demo.segment(street.read_bytes(), 'street.png')[0] for _ in range(3)]
    assert list(demo.shown) == keys[1:]
    monkeypatch.setattr(segmenting, 'MOST_PIXELS', 96 * 128 - 1)
    with pytest.raises(UnreadableError, match='128×96 pixels are too many'):
        demo.segment(street.read_bytes(), 'street.png')


def test_who_comes_when_too_many_wait_is_told_so(
    street: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Demo(backend, drawing_of(backend))
    segment, may_work = demo.segment, threading.Event()

    def segment_later(content: bytes, name: str) -> tuple[str, Shown]:
        assert may_work.wait(60)
        return segment(content, name)

    monkeypatch.setattr(demo, 'segment', segment_later)
    body, headers = form(street.read_bytes(), 'street.png')

    async def ask() -> None:
        (listening,) = bind_sockets(0, '127.0.0.1')
        listener = make_server(demo)
        listener.add_sockets([listening])
        address = f'http://127.0.0.1:{listening.getsockname()[1]}/segment'
        client = AsyncHTTPClient(force_instance=True, max_clients=2 * MOST_WAITING)

        async def upload() -> Any:
            return await client.fetch(
                address, method='POST', body=body, headers=headers, raise_error=False
            )

        calls = [asyncio.create_task(upload()) for _ in range(MOST_WAITING + 1)]
        # The others wait: the first answer can only be this one.
        done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        (refusal,) = (call.result() for call in done)
        assert refusal.code == 503
        assert json.loads(refusal.body)['error'].startswith('8 others wait already: try again')
        may_work.set()
        codes = [(await call).code for call in calls]
        assert sorted(codes) == [200] * MOST_WAITING + [503]
        # There is room again.
        assert (await upload()).code == 200
        listener.stop()

    asyncio.run(ask())


def test_what_is_forgotten_while_it_waits_is_still_shown(
    street: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Watched(OrderedDict[str, Shown]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    demo = Demo(backend, drawing_of(backend), kept=1)
    demo.shown = Watched()
    first, _ = demo.segment(street.read_bytes(), 'first.png')
    segment, works, may_work = demo.segment, threading.Event(), threading.Event()

    def segment_later(content: bytes, name: str) -> tuple[str, Shown]:
        works.set()
        assert may_work.wait(60)
        return segment(content, name)

    monkeypatch.setattr(demo, 'segment', segment_later)
    body, headers = form(street.read_bytes(), 'second.png')

    async def ask() -> None:
        (listening,) = bind_sockets(0, '127.0.0.1')
        make_server(demo).add_sockets([listening])
        address = f'http://127.0.0.1:{listening.getsockname()[1]}'
        client = AsyncHTTPClient(force_instance=True)
        upload = client.fetch(f'{address}/segment', method='POST', body=body, headers=headers)
        assert await asyncio.to_thread(works.wait, 60)
        page = client.fetch(f'{address}/shown/{first}/filters.html', raise_error=False)
        # Until it waits behind the upload
        while not asked:
            await asyncio.sleep(0.01)
        may_work.set()
        assert (await upload).code == 200
        assert first not in demo.shown
        answer = await page
        assert (answer.code, b'first.png' in answer.body) == (200, True)

    asyncio.run(ask())


def test_why_there_is_no_page_of_the_filters(
    street: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Demo(backend, drawing_of(backend))
    key, _ = demo.segment(street.read_bytes(), 'street.png')

    def refuse(shown: Shown) -> str:
        raise UsageError('more classes than <255>')

    monkeypatch.setattr(demo, 'filters', refuse)

    async def ask() -> None:
        (listening,) = bind_sockets(0, '127.0.0.1')
        make_server(demo).add_sockets([listening])
        address = f'http://127.0.0.1:{listening.getsockname()[1]}/shown/{key}/filters.html'
        answer = await AsyncHTTPClient(force_instance=True).fetch(address)
        assert answer.body == b'<p>more classes than &lt;255&gt;</p>'

    asyncio.run(ask())


def test_who_uploads_slowly_takes_a_place_for_a_while(
    street: Path, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Demo(backend, drawing_of(backend))
    body, headers = form(street.read_bytes(), 'street.png')
    lines = [
        'POST /segment HTTP/1.1', 'Host: localhost', f'Content-Length: {len(body)}',
        'Expect: 100-continue', *(f'{key}: {value}' for key, value in headers.items()),
    ]  # fmt: skip
    head = '\r\n'.join([*lines, '', '']).encode()

    def listen() -> int:
        (listening,) = bind_sockets(0, '127.0.0.1')
        make_server(demo).add_sockets([listening])
        return int(listening.getsockname()[1])

    async def begin(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(head)
        # Once the server has read the head
        assert await reader.readuntil(b'\r\n\r\n') == b'HTTP/1.1 100 (Continue)\r\n\r\n'
        writer.write(body[:100])
        return reader, writer

    async def upload(port: int) -> int:
        client = AsyncHTTPClient(force_instance=True)
        address = f'http://127.0.0.1:{port}/segment'
        answer = await client.fetch(
            address, method='POST', body=body, headers=headers, raise_error=False
        )
        return answer.code

    async def ask() -> None:
        port = listen()
        slow = [await begin(port) for _ in range(MOST_WAITING)]
        assert await upload(port) == 503
        # One ends, another gives up: each leaves its place.
        reader, writer = slow.pop()
        writer.write(body[100:])
        assert (await reader.readline()).startswith(b'HTTP/1.1 200')
        slow.append(await begin(port))
        assert await upload(port) == 503
        slow.pop()[1].close()
        await asyncio.sleep(0.2)
        assert await upload(port) == 200
        monkeypatch.setattr(server, 'UPLOAD_SECONDS', 0.5)
        port = listen()
        for reader, _ in [await begin(port) for _ in range(MOST_WAITING)]:
            assert await asyncio.wait_for(reader.read(), 30) == b''
        assert await upload(port) == 200

    asyncio.run(ask())


def test_a_port_that_is_taken_is_an_error(backend: Any) -> None:
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        message = f'--host 127.0.0.1 --port {port}: Address already in use'
        with pytest.raises(UsageError, match=re.escape(message)):
            serve(Demo(backend, drawing_of(backend)), '127.0.0.1', port, print)
