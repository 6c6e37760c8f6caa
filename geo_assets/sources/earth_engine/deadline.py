"""One deadline for a whole answer, its status and headers included.

The timeout of a socket is that of each receipt: a server that sends one byte a minute meets it for
ever. Here each receipt has what is left of the whole.
"""

from __future__ import annotations

import io
import threading
import time
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

_REQUEST = threading.local()


@contextmanager
def answer_within(seconds: float) -> Iterator[None]:
    """Let the answers that this thread waits for come whole within a time, else TimeoutError."""
    _REQUEST.seconds = seconds
    _REQUEST.ends = time.monotonic() + seconds
    try:
        yield
    finally:
        del _REQUEST.seconds, _REQUEST.ends


def bound_answers(pool: urllib3.PoolManager) -> None:
    """Make a pool's connections keep to ``answer_within``."""
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _Receipts(io.RawIOBase):
    """What comes from a socket, with what is left of the deadline as the timeout."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._patience = sock.gettimeout()
        self._seconds: float = _REQUEST.seconds
        self._ends: float = _REQUEST.ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"not whole after {self._seconds:g} s")
        if self._patience is None or left < self._patience:
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundSocket:
    """What ``http.client`` wants of a socket to read an answer: a file of it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Receipts(self._sock))


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(_BoundSocket(sock), *args, **options)  # type: ignore[arg-type]  # as above


class _HttpConnection(HTTPConnection):
    response_class = _Answer


class _HttpsConnection(HTTPSConnection):
    response_class = _Answer


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
