"""A session with Earth Engine: the official client to build expressions, one way to send them.

The client is one set of globals in a process. It is initialised once, under a lock, through the
same ``Caller`` as every pixel request, with its own retries off; what it builds is sent by us, so
that several services can be asked from one process.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from geo_assets.errors import RETRYABLE, ReadError, SourceError
from geo_assets.sources.earth_engine.caller import Caller
from geo_assets.sources.earth_engine.credentials import (
    PROJECT_VARIABLE,
    REGISTRATION,
    URL_VARIABLE,
)
from geo_assets.sources.earth_engine.images import asset_name
from geo_assets.sources.earth_engine.machine_limits import limits_folder
from geo_assets.sources.earth_engine.sizes import check_expression
from geo_assets.sources.earth_engine.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from geo_assets.sources.earth_engine.credentials import Connection
    from geo_assets.sources.earth_engine.policy import RequestPolicy

T = TypeVar("T")

_CLIENT_LOCK = threading.Lock()
_SESSIONS_LOCK = threading.Lock()
_SESSIONS: dict[tuple[Any, ...], Session] = {}


def open_session(connection: Connection, policy: RequestPolicy) -> Session:
    """Return the session of this process with a service, the same for the same rules.

    Raises:
        SourceError: If the machine's limits cannot be kept on this disk.
    """
    with _SESSIONS_LOCK:
        key = (connection, policy)
        if key not in _SESSIONS:
            transport = Transport(
                connection.base_url,
                project=connection.project,
                credentials=connection.credentials,
                connections=policy.concurrency,
                timeouts=policy.timeouts,
            )
            folder = limits_folder(connection.base_url, connection.project)
            _SESSIONS[key] = Session(connection, Caller(transport, policy, folder))
        return _SESSIONS[key]


@dataclass(eq=False)
class Session:
    """Sends what the client builds.

    Attributes:
        connection: Where to and for whom.
        caller: Sends and repeats requests, and bounds them.
    """

    connection: Connection
    caller: Caller
    _known: bool = field(default=False, init=False)

    def prepare(self) -> None:
        """Make sure that the client knows the service's algorithms; expressions need them.

        Raises:
            SourceError: If the service does not answer or does not permit it.
        """
        if self._known:
            return
        with _CLIENT_LOCK:
            if not self._known:
                self._initialize()
                self._known = True

    def _initialize(self) -> None:
        import ee
        import ee.data
        import ee.deprecation

        # A list that is not empty is not fetched: Initialize would ask another host for it.
        if not ee.deprecation.deprecated_assets:
            ee.deprecation.deprecated_assets = {
                "": ee.deprecation.DeprecatedAsset("", None, None, None)
            }
        ee.data.setMaxRetries(0)
        try:
            ee.Initialize(
                # The transport signs requests, and refreshes under a lock of its own.
                credentials=None,
                project=self.connection.project,
                url=self.connection.base_url,
                http_transport=ClientTransport(self.caller),
            )
        except (ee.EEException, ReadError) as error:
            # Asked before any scene or chip: whatever is refused here is refused to the project.
            raise SourceError(self._unusable(error)) from error

    def _unusable(self, error: Exception) -> str:
        """Say what to look after, by whether the service refused or did not answer at all."""
        if isinstance(error, ReadError) and error.kind in RETRYABLE:
            return (
                f"Earth Engine at {self.connection.base_url} does not answer as it should: "
                f"{error}. Is the address right ({URL_VARIABLE}, if set), and does the network "
                "reach it?"
            )
        return (
            f"Earth Engine at {self.connection.base_url} cannot be used with project "
            f"{self.connection.project!r} of {PROJECT_VARIABLE}: {error}. Is the project "
            f"registered for Earth Engine ({REGISTRATION}), and may these credentials use it?"
        )

    def encode(self, value: Any) -> str:
        """Return an ee object as canonical JSON: sorted keys, no blanks.

        Raises:
            SourceError: If it is longer than the service reads.
        """
        from ee import serializer

        encoded = serializer.encode(value, for_cloud_api=True)
        text = json.dumps(encoded, sort_keys=True, separators=(",", ":"), allow_nan=False)
        check_expression(len(text.encode()))
        return text

    def compute(self, value: Any) -> Any:
        """Return what an ee object is, as Python's own values; what ``getInfo`` gives.

        Raises:
            ReadError: If the service does not say.
        """
        body = f'{{"expression":{self.encode(value)}}}'.encode()
        return self.post("value:compute", body, _result)

    def post(self, method: str, body: bytes, check: Callable[[bytes], T]) -> T:
        """Send a body to a method of the project, and return what ``check`` makes of the answer.

        Raises:
            ReadError: If it cannot be had; ``kind`` says whether asking again can help.
        """
        return self.caller.call("POST", f"/v1/{self._project}/{method}", body, check=check)

    def get(self, name: str, check: Callable[[bytes], T]) -> T:
        """Return what ``check`` makes of a resource.

        Raises:
            ReadError: As ``post``.
        """
        return self.caller.call("GET", f"/v1/{name}", check=check)

    def asset(self, asset_id: str) -> dict[str, Any]:
        """Return what the service says of an asset: its type, when it was changed and more.

        Raises:
            ReadError: If there is none, or it may not be read.
        """
        found: dict[str, Any] = self.get(asset_name(asset_id), _json)
        return found

    @property
    def _project(self) -> str:
        return f"projects/{self.connection.project}"


@dataclass(frozen=True)
class ClientTransport:
    """What the client takes for ``httplib2.Http``: its requests go the way of all others."""

    caller: Caller

    def request(  # noqa: PLR0917  # httplib2's
        self,
        uri: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002  # ours say the same
        redirections: int = 0,  # noqa: ARG002  # the service has none
        connection_type: Any = None,  # noqa: ARG002  # httplib2's
    ) -> tuple[Any, bytes]:
        """Return the response as httplib2 has it; one that is no success is raised as ours."""
        import httplib2

        parts = urlsplit(uri)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        sent = body.encode() if isinstance(body, str) else body
        content = self.caller.call(method, path, sent, check=bytes)
        return httplib2.Response({"status": "200", "content-type": "application/json"}), content


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError as error:
        raise ReadError("the server's answer is no JSON", kind="invalid_payload") from error


def _result(payload: bytes) -> Any:
    answer = _json(payload)
    if not isinstance(answer, dict) or "result" not in answer:
        raise ReadError("the server's answer holds no result", kind="invalid_payload")
    return answer["result"]
