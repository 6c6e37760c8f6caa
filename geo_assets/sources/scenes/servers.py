"""What servers of raster files answer, and what it means: one request at a time, none repeated."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from geo_assets.sources.scenes.cache import MAGIC
from geo_assets.sources.scenes.failures import RemoteReadError

RETRYABLE_STATUS = frozenset({408, 425, 429, *range(500, 600)})
"""Answers of a server that may be others next time."""


def ask_for(
    url: str, name: str, timeout_s: float, headers: dict[str, str] | None = None
) -> requests.Response:
    """Ask a server for a raster file, body unread.

    Raises:
        RemoteReadError: If there is no answer, or not a good one.
    """
    try:
        response = requests.get(url, headers=headers, stream=True, timeout=(timeout_s,) * 2)
    except requests.RequestException as error:
        raise RemoteReadError(
            f"{name}: {type(error).__name__}",
            kind="transient",
            whole=True,
            unreachable=_never_connected(error),
        ) from None
    status = response.status_code
    if status in (200, 206):
        return response
    response.close()
    raise RemoteReadError(
        f"{name}: the server answers {status} {response.reason}".rstrip(),
        kind="transient" if status in RETRYABLE_STATUS else "permanent",
        whole=True,
        status=status,
        retry_after_s=_seconds(response.headers.get("Retry-After")),
    )


def diagnosis_of(
    url: str, name: str, detail: str, timeout_s: float, *, whole: bool
) -> RemoteReadError:
    """Ask for the first bytes of a file that could not be read, and return what that tells.

    Args:
        url: The file, signed.
        name: Names it in messages.
        detail: What GDAL said.
        timeout_s: Seconds for the request.
        whole: Whether the file could not even be opened.
    """
    try:
        with ask_for(url, name, timeout_s, {"Range": "bytes=0-11"}) as response:
            begins = next(response.iter_content(12), b"")
    except RemoteReadError as failure:
        return failure
    except requests.RequestException as error:
        return RemoteReadError(f"{name}: {type(error).__name__}", kind="transient")
    if not begins.startswith(MAGIC):
        return RemoteReadError(
            f"{name}: the server sends no raster, it begins with {begins!r}",
            kind="invalid_payload",
            whole=True,
        )
    network = "HTTP response code" in detail or "CURL" in detail or "timed out" in detail
    return RemoteReadError(
        f"{name}: {detail}", kind="transient" if network else "invalid_payload", whole=whole
    )


def _never_connected(error: requests.RequestException) -> bool:
    """Whether nobody listened, or nobody knows the host."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if not retry_after:
        return None
    try:
        return max(float(retry_after), 0.0)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max((then - dt.datetime.now(then.tzinfo)).total_seconds(), 0.0)
