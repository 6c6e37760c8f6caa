"""One request over HTTP, tried once: connections, timeouts, headers and the token of credentials.

What a reply means is in faults.py; when and how often to ask is in caller.py.
"""

from __future__ import annotations

import ipaddress
import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.earth_engine.deadline import answer_within, bound_answers
from geo_assets.sources.earth_engine.faults import TransientFault
from geo_assets.sources.earth_engine.policy import Timeouts
from geo_assets.sources.earth_engine.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.auth.credentials import Credentials

_PIECE_BYTES = 262_144
MAX_REPLY_BYTES = 134_217_728
"""Bytes of the largest reply that is read: more than twice the service's own limit."""


@dataclass(frozen=True, eq=False)
class Reply:
    """An answer as it came, of any status."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes
    sent: int = 1
    """Requests it took: 2 where a refused token was renewed."""


class Transport:
    """Connections to one server. For many threads of one process; a forked child makes its own.

    Args:
        base_url: Scheme, host and port of the service, for instance of its high-volume endpoint.
        project: Project that pays and whose quota counts; None sends none.
        credentials: Of google-auth; None sends no token (a loopback server wants none).
        connections: Connections kept open: as many as requests may be in flight.
        timeouts: How long a request may take.

    Raises:
        SourceError: The address is no http or https address, or would send a token in clear text.
    """

    def __init__(
        self,
        base_url: str,
        *,
        project: str | None,
        credentials: Credentials | None,
        connections: int,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.project = project
        self._timeouts = timeouts or Timeouts()
        self._origin = _origin(self.base_url)
        scheme, host, _ = self._origin
        loopback = is_loopback(host)
        if scheme == "http" and not loopback and credentials is not None:
            raise SourceError(f"{base_url} would send credentials in clear text; use https")
        proxy = None if loopback or proxy_bypass(host) else getproxies().get(scheme)
        self._pool: urllib3.PoolManager = (
            urllib3.ProxyManager(proxy, maxsize=connections, block=False, retries=False)
            if proxy
            else urllib3.PoolManager(maxsize=connections, block=False, retries=False)
        )
        bound_answers(self._pool)
        self._tokens = Tokens(credentials) if credentials is not None else None
        client = f"ee-py/{version('earthengine-api')} python/{platform.python_version()}"
        self._headers = {"X-Goog-Api-Client": client}
        if project is not None:
            self._headers["X-Goog-User-Project"] = project
        self._process = os.getpid()

    def send(
        self,
        method: str,
        path_or_url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request and return the whole reply, whatever its status.

        A token is renewed before it expires, and once more if the server refuses it: only then
        is the request sent a second time.

        Args:
            method: ``GET``, ``POST`` and so on.
            path_or_url: Path from the base address, or an address of the same server.
            body: JSON to send.
            headers: Beside the usual ones, which they override.

        Raises:
            TransientFault: No connection, no whole reply in time, or a connection that broke.
            CredentialsError: The credentials give no token.
            SourceError: The address is another server's, or this process was forked.
        """
        self.require_own_process()
        url = self._url(path_or_url)
        every = self._headers | dict(headers or {})
        if body is not None:
            every.setdefault("Content-Type", "application/json")
        if self._tokens is None:
            return self._exchange(method, url, body, every, sent=1)
        token = self._tokens.current()
        reply = self._exchange(method, url, body, every | token.headers, sent=1)
        if reply.status != 401 or (renewed := self._tokens.renewed(token)) is None:
            return reply
        return self._exchange(method, url, body, every | renewed.headers, sent=2)

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _exchange(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], *, sent: int
    ) -> Reply:
        limits = self._timeouts
        response = None
        try:
            with answer_within(limits.total_s):
                response = self._pool.request(
                    method,
                    url,
                    body=body,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=limits.connect_s, read=limits.read_s),
                    preload_content=False,
                    redirect=False,
                )
                content = _read(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransientFault(
                f"{method} got no whole reply from {self._origin[1]}: {_cause(error)}"
            ) from error
        finally:
            if response is not None:
                # A whole reply has given its connection back; any other must not be used again.
                response.close()
        names = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, names, content, sent)

    def _url(self, path_or_url: str) -> str:
        if path_or_url.startswith("/"):
            return self.base_url + path_or_url
        if _origin(path_or_url) != self._origin:
            host = urlsplit(path_or_url).hostname
            raise SourceError(f"{host} is not asked with the credentials of {self.base_url}")
        return path_or_url

    def require_own_process(self) -> None:
        """Refuse to serve a forked child.

        Raises:
            SourceError: This process was forked after the connections were made.
        """
        if os.getpid() != self._process:
            # Both processes would read from the same sockets, and get each other's answers.
            raise SourceError(
                "a connection to Earth Engine was made before this process was forked; "
                "open it in the process that uses it"
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SourceError(f"{url!r} is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or parts.username is not None:
        raise SourceError(
            f"{parts.scheme or 'no scheme'}://{host or ''} is no address of a server; allowed are "
            "http and https without a user"
        )
    return parts.scheme, host, port or (443 if parts.scheme == "https" else 80)


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """The body, piece by piece as it comes: no more than is allowed, and copied once."""
    pieces: list[bytes] = []
    size = 0
    while piece := response.read1(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_REPLY_BYTES:
            raise ReadError(
                f"the reply is larger than {MAX_REPLY_BYTES:,} bytes", kind="invalid_payload"
            )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _cause(error: BaseException) -> str:
    """The innermost error, without the address that urllib3 writes into its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
