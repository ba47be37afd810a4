"""The page's server, on Tornado."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from http.client import responses
from pathlib import Path
from typing import Any

import cv2
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPFile, HTTPInputError, parse_body_arguments
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler, stream_request_body

from ..engine.images.reading import UnreadableError
from ..errors import UsageError
from ..visualization.capture import MissingLayerError
from .segmenting import Demo

MOST_BYTES = 32_000_000
# Pictures that are uploaded, wait or are worked on; each takes seconds.
MOST_WAITING = 8
# For an upload: 32 MB at 2 Mbit/s
UPLOAD_SECONDS = 120.0
_BUSY = f'{MOST_WAITING} others wait already: try again in a minute'
_PAGE = Path(__file__).with_name('page.html')


class _BusyError(HTTPError):
    """Too many wait already."""

    def __init__(self) -> None:
        super().__init__(503)


class _Worker:
    """Runs what takes long, one after the other, while others are answered."""

    def __init__(self) -> None:
        # One at a time: the network is not made for several threads, and uses all cores.
        self._pool = ThreadPoolExecutor(1)
        self._open = 0

    def enter(self) -> bool:
        """Takes a place among those that wait, if there is one."""
        free = self._open < MOST_WAITING
        self._open += free
        return free

    def leave(self) -> None:
        self._open -= 1

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        if not self.enter():
            raise _BusyError
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, function, *args)
        finally:
            self.leave()


class _Handler(RequestHandler):
    demo: Demo
    work: _Worker

    def initialize(self, demo: Demo, work: _Worker) -> None:
        self.demo, self.work = demo, work

    def fail(self, status: int, reason: str) -> None:
        """Answers with an error, as JSON: `{"error": "…"}`."""
        self.set_status(status)
        self.finish(dict(error=reason))

    def write_error(self, status_code: int, **_: Any) -> None:
        """What nobody expected, as JSON too; the log says more."""
        unexpected = f'{status_code}: {responses.get(status_code, "unknown")}'
        self.finish(dict(error=_BUSY if status_code == 503 else unexpected))


class _Page(_Handler):
    def get(self) -> None:
        self.finish(_PAGE.read_text(encoding='utf-8'))


@stream_request_body
class _Segment(_Handler):
    """POST an image file as `image` of a form: JSON of what is shown of it.

    An upload takes its place before its body comes: bodies of others are not kept.
    """

    _uploading = False

    def prepare(self) -> None:
        self._body = bytearray()
        self._uploading = self.work.enter()

    def data_received(self, chunk: bytes) -> None:
        # Who is refused reads the answer once all is sent.
        if self._uploading:
            self._body += chunk

    def on_connection_close(self) -> None:
        super().on_connection_close()
        self._leave()

    def on_finish(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._uploading:
            self._uploading = False
            self.work.leave()

    def _files(self) -> list[HTTPFile]:
        headers, body = self.request.headers, bytes(self._body)
        del self._body
        files: dict[str, list[HTTPFile]] = {}
        try:
            parse_body_arguments(headers.get('Content-Type', ''), body, {}, files, headers)
        except HTTPInputError as error:
            raise HTTPError(400) from error
        return files.get('image', [])

    async def post(self) -> None:
        if not self._uploading:
            raise _BusyError
        files = self._files()
        # To the worker, which has a place at once
        self._leave()
        if not files:
            self.fail(400, 'expected an image file in the field "image" of a form')
            return
        file = files[0]
        name = Path(file['filename'].replace('\\', '/')).name or 'image'
        try:
            key, shown = await self.work(self.demo.segment, file['body'], name)
        except (UnreadableError, MemoryError) as error:
            self.fail(400, f'{name}: {error or "too large for the memory"}')
            return
        links = {what: f'shown/{key}/{what}' for what in ('overlay.png', 'ids.png', 'filters.html')}
        self.finish({**self.demo.describe(shown), 'links': links})


class _Shown(_Handler):
    """GET what is shown of an image: its overlay, its class ids, the page of its filters."""

    async def get(self, key: str, what: str) -> None:
        shown = self.demo.shown.get(key)
        if shown is None:
            self.fail(404, 'this image is not kept any more')
            return
        if what == 'filters.html':
            try:
                page = await self.work(self.demo.filters, shown)
            except MissingLayerError:
                page = '<p>This network has no dynamic filters.</p>'
            except UsageError as error:
                page = f'<p>{escape(str(error))}</p>'
            except _BusyError:
                self.set_status(503)
                page = f'<p>{_BUSY}.</p>'
            self.finish(page)
            return
        picture = shown.overlay if what == 'overlay.png' else shown.ids
        self.set_header('Content-Type', 'image/png')
        self.finish(cv2.imencode('.png', picture)[1].tobytes())


def _make_application(demo: Demo) -> Application:
    """The page, and what it asks for, of a demo."""
    own = dict(demo=demo, work=_Worker())
    return Application(
        [
            (r'/', _Page, own),
            (r'/segment', _Segment, own),
            (r'/shown/([\w-]+)/(overlay\.png|ids\.png|filters\.html)', _Shown, own),
        ]
    )


def make_server(demo: Demo) -> HTTPServer:
    """The server of a demo's page; it listens nowhere yet."""
    return HTTPServer(
        _make_application(demo), max_buffer_size=MOST_BYTES, body_timeout=UPLOAD_SECONDS
    )


def serve(demo: Demo, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves the page until it is interrupted.

    Args:
        demo: what the page shows.
        host: name or address to listen at.
        port: 0: any that is free.
        announce: told the page's address once it can be opened.

    Raises:
        UsageError: the port is taken, or the host is not this machine's.
    """

    async def run() -> None:
        try:
            sockets = bind_sockets(port, host)
        except OSError as error:
            raise UsageError(f'--host {host} --port {port}: {error.strerror or error}') from error
        make_server(demo).add_sockets(sockets)
        announce(f'http://{host}:{sockets[0].getsockname()[1]}/')
        await asyncio.Event().wait()

    asyncio.run(run())
