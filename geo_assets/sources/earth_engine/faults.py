"""What can go wrong between a request and its answer, and whether asking again can help.

Every fault on the wire becomes one of three: transient (ask again), permanent (waits for a
person), credentials (ends the run). No message holds a token or the query of a URL.
"""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from geo_assets.errors import ReadError, SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from geo_assets.sources.earth_engine.transport import Reply

LONGEST_MESSAGE = 300
LONGEST_PAUSE_S = 3600.0
"""A longer Retry-After counts as this: by then the run has ended and a later one asks."""

_TRANSIENT = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
_THROTTLING_REASONS = {
    "ratelimitexceeded",
    "userratelimitexceeded",
    "quotaexceeded",
    "rate_limit_exceeded",
}
# Not "quota" alone: "requires a quota project" and the like wait for a person.
_THROTTLING_TEXT = re.compile(
    r"quota exceeded|exceeded [^.]{0,40}quota|rate ?limit ?exceeded|too many (requests|concurrent)",
    re.IGNORECASE,
)
_QUERY = re.compile(r"(https?://[^\s?\"'<>]+)\?[^\s\"'<>]+")
_SECRET = re.compile(
    r"ya29\.[\w.-]+|AIza[\w-]+|Bearer\s+\S+|(?:access_token|key)=[^\s&]+|eyJ[\w-]+\.[\w.-]+"
)


class TransientFault(ReadError):  # noqa: N818  # what the field calls it
    """The service or the way to it failed; asking again can help.

    Attributes:
        retry_after_s: Seconds that the server asked to be left alone, None if it named none.
        throttled: Whether the server lives and refused because of a rate or concurrency limit.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, throttled: bool = False
    ) -> None:
        super().__init__(message, kind="transient")
        self.retry_after_s = retry_after_s
        self.throttled = throttled


class OutageFault(TransientFault):
    """Nothing was asked: the service has failed for longer than calls have patience."""


class InvalidPayload(ReadError):  # noqa: N818  # as the others here
    """An answer that is not what was asked for, such as a web page in place of pixels."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="invalid_payload")


class PermanentFault(ReadError):  # noqa: N818  # as above
    """The service refuses this request for good: asking again gives the same answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="permanent")


class CredentialsError(SourceError):
    """The service does not accept who asks; this ends a run instead of failing every chip."""


def raise_for(reply: Reply) -> None:
    """Raise what a reply means; return if it is a success with content.

    Raises:
        TransientFault: 429, 408, 425, 5xx, and 403 or 400 for a quota.
        PermanentFault: Other 4xx; the message is the server's.
        CredentialsError: 401.
        InvalidPayload: A redirection, a success that is empty or a web page.
    """
    status = reply.status
    if 200 <= status < 300:
        _refuse_no_content(reply)
        return
    error = _error_of(reply.body)
    said = f"Earth Engine answers {status}: {_message(error, reply)}"
    if status == HTTPStatus.UNAUTHORIZED:
        raise CredentialsError(
            f"{said}. The credentials are expired or not accepted: run `earthengine authenticate`, "
            "or renew the service account's key, and start again"
        )
    throttled = status == HTTPStatus.TOO_MANY_REQUESTS or (
        status in {HTTPStatus.FORBIDDEN, HTTPStatus.BAD_REQUEST} and _is_throttling(error)
    )
    if throttled or status >= 500 or status in _TRANSIENT:
        raise TransientFault(said, retry_after_s=retry_after(reply.headers), throttled=throttled)
    if 400 <= status < 500:
        raise PermanentFault(said)
    raise InvalidPayload(f"Earth Engine answers {status}, neither a success nor an error")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if there is none to be read.

    RFC 9110, 10.2.3: seconds or an HTTP date. A date is taken from the server's own clock (its
    Date header) where given, so that a wrong clock here shortens no wait.
    """
    stated = headers.get("retry-after", "").strip()
    if not stated:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", stated, re.ASCII):
        return min(float(stated), LONGEST_PAUSE_S)
    until = _timestamp(stated)
    if until is None:
        return None
    since = _timestamp(headers.get("date", ""))
    if since is None:
        since = time.time() if now is None else now
    return min(max(until - since, 0.0), LONGEST_PAUSE_S)


def redacted(text: str) -> str:
    """Return a text on one line, cut to a sane length, without queries of URLs and tokens."""
    line = " ".join(text.split())
    line = _SECRET.sub("…", _QUERY.sub(r"\1?…", line))
    return line if len(line) <= LONGEST_MESSAGE else line[:LONGEST_MESSAGE] + "…"


def _refuse_no_content(reply: Reply) -> None:
    if not reply.body:
        raise InvalidPayload(f"Earth Engine answers {reply.status} without content")
    if reply.headers.get("content-type", "").lower().startswith("text/html"):
        raise InvalidPayload(f"Earth Engine answers {reply.status} with a web page")


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        error = json.loads(body)["error"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _message(error: dict[str, Any], reply: Reply) -> str:
    if error.get("message"):
        return redacted(str(error["message"]))
    if reply.headers.get("content-type", "").lower().startswith("text/html"):
        return "a web page"
    return redacted(reply.body[:1000].decode("utf-8", "replace")) or "nothing"


def _is_throttling(error: dict[str, Any]) -> bool:
    if error.get("status") == "RESOURCE_EXHAUSTED":
        return True
    listed = [*_dicts(error.get("errors")), *_dicts(error.get("details"))]
    if any(str(one.get("reason", "")).lower() in _THROTTLING_REASONS for one in listed):
        return True
    return bool(_THROTTLING_TEXT.search(str(error.get("message", ""))))


def _dicts(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _timestamp(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
