"""Serves pages to explore filters on this machine: a list of images, and each page on demand."""

from __future__ import annotations

import html
import json
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2

from ..engine.images.pictures import to_picture
from ..errors import UsageError, counted, in_a_line
from .explorer import build_page
from .visualizing import Visualizer

HOST = '127.0.0.1'
# Pages kept; one has up to 15 MB.
_KEPT = 8
_WEB = Path(__file__).parent / 'explorer' / 'web'
_THUMBNAIL = 240


class Pages:
    """Pages of images, which one thread makes in the order in which they are asked for.

    Args:
        visualizer: what runs the network.
        files: the images.
    """

    def __init__(self, visualizer: Visualizer, files: Sequence[Path]) -> None:
        self.visualizer = visualizer
        self.files = files
        self._made: OrderedDict[int, bytes] = OrderedDict()
        self._states: dict[int, str] = {}
        self._failed: dict[int, str] = {}
        self._wanted: queue.Queue[int] = queue.Queue()
        self._lock = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def page(self, number: int) -> bytes | None:
        """The page of an image, or None: it is being made, or failed."""
        with self._lock:
            if number in self._made:
                self._made.move_to_end(number)
                return self._made[number]
            if number not in self._states:
                self._failed.pop(number, None)
                self._states[number] = 'waiting'
                self._wanted.put(number)
        return None

    def status(self, number: int) -> dict[str, Any]:
        """How far a page is: `step` in words, whether it is `done`, `error` or None."""
        with self._lock:
            return {
                'step': self._states.get(number, ''),
                'done': number in self._made,
                'error': self._failed.get(number),
            }

    def _say(self, number: int, step: str) -> None:
        with self._lock:
            self._states[number] = step

    def _work(self) -> None:
        while True:
            number = self._wanted.get()
            file = self.files[number]
            started = time.perf_counter()
            try:
                self._say(number, 'running the network')
                inspections, _ = self.visualizer.inspect(file)
                self._say(number, 'packing the filters')
                titles = ' and '.join(one.title for one in inspections)
                text = build_page([inspections], f'Filters of {titles} on {file.name}', [file.name])
            except Exception as error:
                # The server goes on; another image may be fine.
                with self._lock:
                    self._failed[number] = in_a_line(error)
                    del self._states[number]
                sys.stderr.write(f'{file}: {in_a_line(error)}\n')
                continue
            with self._lock:
                self._made[number] = text.encode(errors='backslashreplace')
                del self._states[number]
                while len(self._made) > _KEPT:
                    self._made.popitem(last=False)
            sys.stderr.write(f'{file}: {time.perf_counter() - started:.1f} s\n')

    def thumbnail(self, number: int) -> bytes:
        """A small picture of an image, JPEG."""
        picture = to_picture(self.visualizer.networks[0][1].read(self.files[number]))
        scale = min(1.0, _THUMBNAIL / picture.shape[1])
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode('.jpg', small)[1])


class Server(ThreadingHTTPServer):
    """Answers this machine alone."""

    daemon_threads = True
    pages: Pages

    @property
    def address(self) -> str:
        return f'http://{HOST}:{self.server_port}/'


def open_server(port: int) -> Server:
    """A server that listens at a port, or for 0 at one that is free.

    Raises:
        UsageError: the port is taken, or not allowed.
    """
    try:
        return Server((HOST, port), _Handler)
    except OSError as error:
        raise UsageError(f'--port {port}: {error.strerror}. Try another, or 0') from error


def serve(server: Server, pages: Pages) -> None:
    """Answers until Ctrl-C."""
    server.pages = pages
    server.serve_forever(0.2)


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        # Another name for this machine may be a web page's trick.
        host = (self.headers.get('Host') or '').partition(':')[0]
        if host not in (HOST, 'localhost'):
            self._send(b'expected 127.0.0.1', 'text/plain', HTTPStatus.FORBIDDEN)
            return
        pages = self.server.pages
        path = self.path.partition('?')[0]
        if path == '/':
            self._send(_list_page(pages.files), 'text/html')
            return
        kind, _, number = path[1:].partition('/')
        known = number.isascii() and number.isdigit() and int(number) < len(pages.files)
        if kind not in ('page', 'status', 'picture') or not known:
            self._send(b'there is no such page', 'text/plain', HTTPStatus.NOT_FOUND)
        elif kind == 'status':
            self._send(json.dumps(pages.status(int(number))).encode(), 'application/json')
        elif kind == 'picture':
            try:
                self._send(pages.thumbnail(int(number)), 'image/jpeg')
            except Exception as error:
                text = in_a_line(error).encode()
                self._send(text, 'text/plain', HTTPStatus.UNPROCESSABLE_ENTITY)
        else:
            page = pages.page(int(number))
            if page is None:
                page = _template('waiting', {'name': html.escape(pages.files[int(number)].name)})
            self._send(page, 'text/html')

    def _send(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        try:
            self.send_response(status)
            self.send_header('Content-Type', f'{kind}; charset=utf-8')
            self.send_header('Content-Length', str(len(content)))
            self.send_header('Cache-Control', 'no-store')
            self.end_headers()
            self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            # Whoever asked has left.
            pass

    def log_message(self, *_: Any) -> None:
        """Says nothing of single requests."""


def _template(name: str, parts: dict[str, str]) -> bytes:
    text = (_WEB / f'{name}.html').read_text('utf-8')
    for key, value in parts.items():
        text = text.replace(f'{{{{{key}}}}}', value)
    return text.encode(errors='backslashreplace')


def _list_page(files: Sequence[Path]) -> bytes:
    items = ''.join(
        f'<li><a href="/page/{number}"><img loading="lazy" alt="" src="/picture/{number}">'
        f'{html.escape(file.name)}</a></li>'
        for number, file in enumerate(files)
    )
    return _template('list', {'items': items, 'count': counted(len(files), 'image')})
