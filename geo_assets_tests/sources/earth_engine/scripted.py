"""A service that says what a test wrote down, for sessions without HTTP.

The client initialises against the discovery documents of its own wheel; whatever else is asked
is kept, and answered by the test.
"""

from __future__ import annotations

import importlib.resources
import json
import threading
from dataclasses import dataclass, field
from functools import cache

from geo_assets.sources.earth_engine.credentials import Connection
from geo_assets.sources.earth_engine.session import Session

URL = "http://127.0.0.1:9"
"""Of the discard protocol: nobody answers there."""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None

    @property
    def expression(self):
        return json.loads(self.body)["expression"]


@dataclass
class ScriptedCaller:
    """Stands in for ``Caller``: ``answer`` gets each request and returns bytes or raises.

    As the real one it asks again when a check refuses an answer, ``attempts`` times in all.
    """

    answer: object = None
    attempts: int = 1
    asked: list[Request] = field(default_factory=list)
    initialised: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, method, path, body=None, *, check):
        from geo_assets.errors import ReadError

        for attempt in range(1, self.attempts + 1):
            try:
                return check(self._reply(method, path, body))
            except ReadError as error:
                if error.kind == "permanent" or attempt == self.attempts:
                    raise
        raise AssertionError

    def _reply(self, method, path, body):
        known = self._discovery(path)
        if known is not None:
            return known
        request = Request(method, path, body)
        with self._lock:
            self.asked.append(request)
        return self.answer(request)

    def _discovery(self, path):
        if path.startswith("/$discovery/rest") or "/algorithms" in path:
            with self._lock:
                self.initialised.append(path)
            return _packaged("algorithms" if "/algorithms" in path else "discovery")
        return None


@cache
def _packaged(kind):
    name = {
        "algorithms": "algorithms.json",
        "discovery": "cloud_api_discovery_document.json",
    }[kind]
    content = (importlib.resources.files("ee") / "tests" / name).read_bytes()
    if kind == "algorithms":
        return content
    document = json.loads(content.replace(b"v1alpha", b"v1"))
    return json.dumps(document | {"rootUrl": URL + "/", "baseUrl": URL + "/"}).encode()


def session_with(answer=None, **options):
    """A session whose requests a test answers."""
    return Session(Connection(URL, "test-project", "none", None), ScriptedCaller(answer, **options))
