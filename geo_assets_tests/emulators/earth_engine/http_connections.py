"""HTTP/1.1 over loopback sockets, as little of it as the clients here speak.

One thread a connection, kept alive; bodies have a Content-Length (a chunked request is refused).
Hand-made because a fault must reach the socket itself and because ``http.server`` spends more on
an e-mail parser than a whole canned answer costs.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

_MOST_BODY = 64 * 2**20


@dataclass(frozen=True)
class Request:
    """One request, its body read."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Keys in lower case."""
    body: bytes


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()

    def head(self) -> bytes:
        """Return the status line and the headers."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *(f"{name}: {value}" for name, value in self.headers),
            "\r\n",
        ]
        return "\r\n".join(lines).encode("latin-1")


@dataclass
class Connection:
    """One client's socket."""

    socket: socket.socket
    stopping: threading.Event
    open: bool = True

    def send(self, reply: Reply) -> None:
        """Send an answer in full."""
        head, body = reply.head(), reply.body
        if len(body) < 16_384:
            self.socket.sendall(head + body)
            return
        sent = self.socket.sendmsg([head, body])
        if sent < len(head):
            self.socket.sendall(head[sent:])
            sent = len(head)
        self.socket.sendall(memoryview(body)[sent - len(head) :])

    def close(self) -> None:
        """End the connection after what was sent."""
        self.open = False

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False

    def wait_until_left(self, limit_s: float) -> None:
        """Return when the client has gone, at the limit, or as the server stops."""
        poller = select.poll()
        poller.register(self.socket, select.POLLIN | select.POLLHUP | select.POLLRDHUP)
        poller.poll(limit_s * 1000)


@dataclass
class HttpServer:
    """Listens on 127.0.0.1 and hands every request to ``respond``."""

    respond: Callable[[Request, Connection], None]
    port: int = 0
    _listener: socket.socket | None = None
    _acceptor: threading.Thread | None = None
    _threads: dict[threading.Thread, socket.socket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Listen; the port is known when this returns."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self.port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener,), name="earth-engine-accept", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """End every connection and thread."""
        self.stopping.set()
        if self._listener is not None and self._acceptor is not None:
            # Wakes accept(), which closing alone does not.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._acceptor.join()
            self._listener.close()
        with self._lock:
            threads = dict(self._threads)
        for client in threads.values():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve, args=(client,), name="earth-engine-connection", daemon=True
            )
            with self._lock:
                self._threads[thread] = client
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        connection = Connection(client, self.stopping)
        reader = client.makefile("rb")
        try:
            while connection.open and not self.stopping.is_set():
                request = _read(reader)
                if request is None:
                    break
                if request.headers.get("connection", "").lower() == "close":
                    connection.close()
                self.respond(request, connection)
        except (OSError, ValueError):
            pass  # The client left, or speaks something else: nobody is there to be told.
        finally:
            reader.close()
            client.close()
            with self._lock:
                self._threads.pop(threading.current_thread(), None)


def _read(reader: BufferedReader) -> Request | None:
    line = reader.readline(65_536)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := reader.readline(65_536)) not in {b"\r\n", b"\n", b""}:
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise ValueError("chunked requests are not understood")
    length = int(headers.get("content-length", 0))
    if not 0 <= length <= _MOST_BODY:
        raise ValueError(f"Content-Length {length}")
    body = reader.read(length) if length else b""
    if len(body) < length:
        return None
    parts = urlsplit(target)
    return Request(method, parts.path, parts.query, headers, body)
