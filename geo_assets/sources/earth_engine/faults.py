"""What can go wrong with a request, and which of it is worth asking again.

Classified here: replies. Errors of the connection become a ``TransientFault`` in transport.py.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
from math import isfinite
from typing import TYPE_CHECKING, Any

from geo_assets.errors import ReadError, SourceError

if TYPE_CHECKING:
    from geo_assets.sources.earth_engine.transport import Reply

_MESSAGE_LENGTH = 300
_QUOTA_REASONS = frozenset({"ratelimitexceeded", "userratelimitexceeded", "quotaexceeded"})


class TransientFault(ReadError):  # noqa: N818 - a fault of the way or the server, not of the code
    """The server or the way to it failed for now.

    Attributes:
        retry_after_s: Seconds that the server asked to be left alone; None if it did not say.
        throttled: Whether the rate or the number of requests was above the quota.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, throttled: bool = False
    ) -> None:
        super().__init__(message, kind="transient")
        self.retry_after_s = retry_after_s
        self.throttled = throttled


class OutageFault(TransientFault):
    """Nothing was asked: the server failed for too long, or wants more rest than a call may wait."""


class PermanentFault(ReadError):  # noqa: N818 - as above
    """The same request would fail again: it is wrong, too heavy or not permitted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, kind="permanent")


class CredentialsError(SourceError):
    """No request can succeed: the credentials are missing, expired or revoked. Ends the run."""


def raise_for(reply: Reply) -> None:
    """Raise what a reply means unless it holds what was asked for.

    Raises:
        TransientFault: 408, 429, 5xx and a 403 that speaks of the quota.
        CredentialsError: 401.
        PermanentFault: Every other status but 200.
        ReadError: Of kind ``invalid_payload``: 200 with a web page or with nothing.
    """
    if reply.status == 200:
        _raise_for_content(reply)
        return
    message, reasons = _error_of(reply.body)
    text = f"the server answered {reply.status}: {message}"
    if reply.status == 401:
        raise CredentialsError(
            f"{text}; sign in again with `earthengine authenticate` or check the service account"
        )
    throttled = reply.status == 429 or (
        reply.status == 403 and (bool(reasons & _QUOTA_REASONS) or "quota" in message.lower())
    )
    if throttled or reply.status == 408 or reply.status >= 500:
        raise TransientFault(
            text, retry_after_s=retry_after(reply.headers.get("retry-after")), throttled=throttled
        )
    raise PermanentFault(text)


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, given as seconds or as an HTTP date.

    Source: RFC 9110, section 10.2.3. A value that is neither is as good as none.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        seconds = (date - dt.datetime.now(dt.UTC)).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None


def _raise_for_content(reply: Reply) -> None:
    if not reply.body:
        raise ReadError("the server answered 200 with nothing", kind="invalid_payload")
    if reply.headers.get("content-type", "").strip().lower().startswith("text/html"):
        raise ReadError(
            "the server answered 200 with a web page in place of data", kind="invalid_payload"
        )


def _error_of(body: bytes) -> tuple[str, frozenset[str]]:
    """Message and reasons (lower case, letters only) of an error's body."""
    try:
        error = json.loads(body)["error"]
        message, details = str(error["message"]), _dicts(error.get("details"))
        details += [*_dicts(error.get("errors")), error]
    except (ValueError, TypeError, KeyError, AttributeError):
        return _shortened(body[: 4 * _MESSAGE_LENGTH].decode("utf-8", "replace")), frozenset()
    reasons = {str(detail.get("reason", "")).replace("_", "").lower() for detail in details}
    return _shortened(message), frozenset(reasons)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _shortened(message: str) -> str:
    """One line of sane length without the query of any address, where keys are written."""
    words = [
        word.partition("?")[0] + "?..." if "://" in word and "?" in word else word
        for word in message.split()
    ]
    line = " ".join(words) or "(no message)"
    return line if len(line) <= _MESSAGE_LENGTH else line[: _MESSAGE_LENGTH - 3] + "..."
