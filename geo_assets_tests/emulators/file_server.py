"""A loopback HTTP server of files with byte ranges, which can be told to fail first.

Simplified: one process, no TLS, no caching headers; a fault is the same for HEAD and GET; POST
is answered as GET.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What one request gets in place of the file."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    promised: int | None = None
    """Content-Length to claim where it is not the body's."""


@dataclass
class FileServer:
    """Serves ``folder``; ``faults`` are answered first, one for each request."""

    folder: Path
    url: str = ""
    faults: deque[Answer] = field(default_factory=deque)
    always: Answer | None = None
    """Answer of every request once ``faults`` are used up; None: the file."""
    key: str | None = None
    """Where set, requests without ``?key=`` of this value get 403."""
    key_name: str = "key"
    """Name of that part of the query."""
    requests: list[str] = field(default_factory=list)

    def answer(self, target: str, byte_range: str | None) -> Answer:
        self.requests.append(target)
        parts = urlsplit(target)
        if self.key is not None and parse_qs(parts.query).get(self.key_name) != [self.key]:
            return Answer(403, b"expired")
        if self.faults:
            return self.faults.popleft()
        if self.always is not None:
            return self.always
        path = self.folder / parts.path.lstrip("/")
        if not path.is_file():
            return Answer(404, b"no such file")
        body = path.read_bytes()
        if byte_range is None:
            return Answer(200, body, (("Accept-Ranges", "bytes"),))
        first, last = byte_range.removeprefix("bytes=").split("-")
        stop = min(int(last) + 1 if last else len(body), len(body))
        where = ("Content-Range", f"bytes {first}-{stop - 1}/{len(body)}")
        return Answer(206, body[int(first) : stop], (where,))


@contextmanager
def serve_files(folder: Path) -> Iterator[FileServer]:
    """Serve a folder on a free port of 127.0.0.1 while the context lasts."""
    server = FileServer(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._send(with_body=False)

        def do_GET(self) -> None:
            self._send(with_body=True)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(with_body=True)

        def _send(self, *, with_body: bool) -> None:
            answer = server.answer(self.path, self.headers.get("Range"))
            self.send_response(answer.status)
            length = len(answer.body) if answer.promised is None else answer.promised
            self.send_header("Content-Length", str(length))
            for name, value in answer.headers:
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(answer.body)

        def log_message(self, *_args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
