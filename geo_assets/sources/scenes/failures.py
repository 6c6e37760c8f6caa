"""Why remote files could not be had, remembered for a while.

An area is read in many blocks: each would wait again for a server that is down. Only what holds of
a whole file or server is remembered; by a source of pixels, and so by one run.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from geo_assets.errors import ErrorKind, ReadError

TRANSIENT_S = 60.0
"""Seconds for which a file or server is not asked again after a failure that may pass."""

LASTING_S = 600.0
"""The same after any other failure."""


class RemoteReadError(ReadError):
    """A ReadError of a remote file, with what the server said."""

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        scene_id: str | None = None,
        whole: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
        unreachable: bool = False,
    ) -> None:
        super().__init__(message, kind=kind, scene_id=scene_id, whole=whole)
        self.status = status
        self.retry_after_s = retry_after_s
        self.unreachable = unreachable
        """Whether no connection came about, which holds of all files of the server."""


class RecentFailures:
    """What could not be had lately."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, ErrorKind, str]] = {}

    def note(self, href: str, name: str, error: ReadError) -> None:
        """Remember a failure of a whole file, or of its server."""
        if not error.whole:
            return
        of_server = isinstance(error, RemoteReadError) and error.unreachable
        subject = _server(href) if of_server else href
        lasts = TRANSIENT_S if error.kind == "transient" else LASTING_S
        why = str(error).removeprefix(f"{name}: ")
        self._known[subject] = (time.monotonic() + lasts, error.kind, why)

    def check(self, href: str, name: str) -> None:
        """Raise again what is remembered of a file or of its server.

        Raises:
            ReadError: It failed a short while ago.
        """
        for subject in (href, _server(href)):
            until, kind, why = self._known.get(subject, (0.0, "transient", ""))
            if time.monotonic() < until:
                raise ReadError(f"{name}: {why}", kind=kind, whole=True)


def _server(href: str) -> str:
    return urlsplit(href).netloc
