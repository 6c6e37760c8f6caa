"""A server on 127.0.0.1 that sends to each connection what a test wrote down, byte by byte."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress


class Loopback:
    """Keeps the requests it read; ``script(server, connection, request)`` answers each."""

    def __init__(self, script):
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection, suppress(OSError):
            while request := read_request(connection):
                self.requests.append(request)
                if self._script(self, connection, request) == "close":
                    return

    def close(self):
        self.stopped.set()
        # A listener that is only closed lets accept() wait on.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(10)


@contextmanager
def loopback(script):
    server = Loopback(script)
    try:
        yield server
    finally:
        server.close()


def read_request(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answer(body=b"{}", status="200 OK", *headers, length=None):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def sends(*pieces, then=None):
    """A script: each request is answered by the next piece, the last one for ever."""
    left = list(pieces)

    def script(_server, connection, _request):
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])
        return then

    return script
