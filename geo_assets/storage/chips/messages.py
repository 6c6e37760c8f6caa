"""Messages of failed reads, made fit to be published in a table."""

from __future__ import annotations

import re

_LONGEST = 500
_URL = re.compile(
    r"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@'\"<>]*@)?([^\s?#'\"<>]*)[?#][^\s'\"<>]*", re.IGNORECASE
)
_URL_WITH_USER = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s/@'\"<>]*@", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(authorization|bearer|token|access_token|api[_-]?key|key|password|passwd|secret|sig|"
    r"signature|credential)(\s*[=:]\s*|\s+(?=\S*\d))(?:bearer\s+)?[^\s,;&'\"]+",
    re.IGNORECASE,
)
_QUOTED_PATH = re.compile(
    r"(['\"])(?:file://)?(?:~?/|[A-Za-z]:[\\/]|\\\\)[^'\"]*?([^'\"/\\]+)[/\\]?\1"
)
_BARE_PATH = re.compile(
    r"(?<![\w./:~\\-])(?:file://)?(?:~?/|[A-Za-z]:[\\/]|\\\\)(?:[^\s'\",;:()<>/\\]+[/\\])*([^\s'\",;:()<>/\\]*)"
)


def publishable(message: str) -> str:
    """Return a message on one line without absolute folders, query strings, users or secrets.

    Of a path its last part stays, of a URL everything up to its query. At most 500 characters.
    """
    text = " ".join(message.split())
    text = _URL.sub(r"\1\2", text)
    text = _URL_WITH_USER.sub(r"\1", text)
    text = _SECRET.sub(r"\1=***", text)
    text = _QUOTED_PATH.sub(r"\1\2\1", text)
    text = _BARE_PATH.sub(r"\1", text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
