"""Who asks Earth Engine, and where: project, credentials and address, from the environment alone.

Credentials never leave this package but as an object of google-auth; no message holds any of them.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from geo_assets.errors import SourceError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

PROJECT_VARIABLE = "GEO_ASSETS_EE_PROJECT"
"""Google Cloud project that requests are counted for; Earth Engine must be enabled in it."""
URL_VARIABLE = "GEO_ASSETS_EE_URL"
"""Another service that speaks Earth Engine's protocol; one on loopback needs no credentials."""
KEY_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
"""File of a service account's key, or of other application default credentials."""

Endpoint = Literal["high-volume", "standard"]
ADDRESSES: dict[Endpoint, str] = {
    "high-volume": "https://earthengine-highvolume.googleapis.com",
    "standard": "https://earthengine.googleapis.com",
}
SCOPES = (
    "https://www.googleapis.com/auth/earthengine",
    "https://www.googleapis.com/auth/cloud-platform",
)
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}

REGISTRATION = "https://code.earthengine.google.com/register"
NO_PROJECT = (
    f"{PROJECT_VARIABLE} is not set: it names the Google Cloud project that requests are counted "
    f"for. Register one at {REGISTRATION}, then "
    f"export {PROJECT_VARIABLE}=<project id>"
)
NO_CREDENTIALS = (
    "no Earth Engine credentials found. Run `earthengine authenticate`, or "
    f"export {KEY_VARIABLE}=<file of a service account's key>, or "
    "`gcloud auth application-default login`"
)


@dataclass(frozen=True)
class Connection:
    """Where requests go and for whom.

    Attributes:
        base_url: Scheme and host of the service.
        project: Google Cloud project.
        kind: What kind of credentials was found, for people.
        credentials: Of google-auth; None on loopback.
    """

    base_url: str
    project: str
    kind: str
    credentials: Credentials | None = field(repr=False, compare=False)


def find_connection(endpoint: Endpoint) -> Connection:
    """Return the connection that the environment describes; nothing is sent.

    Raises:
        SourceError: If the project or credentials are missing or cannot be used; the message says
            how to get them.
    """
    base_url = address(endpoint)
    project = stated_project()
    if urlsplit(base_url).hostname in _LOOPBACK:
        return Connection(base_url, project, "none, as on loopback", None)
    kind, credentials = _found()
    return Connection(base_url, project, kind, credentials)


def stated_project() -> str:
    """Return the project: ``GEO_ASSETS_EE_PROJECT``.

    Raises:
        SourceError: If there is none, or it cannot be one's name.
    """
    project = os.environ.get(PROJECT_VARIABLE, "").strip()
    if not project:
        raise SourceError(NO_PROJECT)
    if not _PROJECT.fullmatch(project):
        # Not quoted: who sets the wrong variable may have put a key here.
        raise SourceError(
            f"{PROJECT_VARIABLE} is no project id: allowed are letters, digits and '.:_-', "
            "100 at most"
        )
    return project


def address(endpoint: Endpoint) -> str:
    """Return the service's address: ``GEO_ASSETS_EE_URL``, else that of the endpoint.

    Raises:
        SourceError: If the variable holds no URL, or one that would send credentials in the clear.
    """
    stated = os.environ.get(URL_VARIABLE, "").strip().rstrip("/")
    if not stated:
        return ADDRESSES[endpoint]
    # Never quoted: people write keys into addresses.
    wanted = f"{URL_VARIABLE} must be a URL such as http://127.0.0.1:8080"
    try:
        parts = urlsplit(stated)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SourceError(f"{wanted} (it holds none)")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SourceError(f"{wanted}, without a user, a password or a query")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise SourceError(
            f"{URL_VARIABLE} must be https beyond loopback: credentials would be sent in the clear"
        )
    return stated


def _found() -> tuple[str, Credentials]:
    """The first credentials there are: a stated file, the client's own token, gcloud's."""
    if os.environ.get(KEY_VARIABLE):
        return _of_file(Path(os.environ[KEY_VARIABLE]).expanduser())
    token = _token()
    if token is not None:
        return "token of `earthengine authenticate`", token
    return "application default credentials", _application_default()


def _of_file(path: Path) -> tuple[str, Credentials]:
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind = str(content.get("type", "unknown"))
        with warnings.catch_warnings():
            # It warns of files of strangers; this one is the user's own.
            warnings.simplefilter("ignore")
            credentials, _ = google.auth.load_credentials_from_dict(  # type: ignore[no-untyped-call]  # google-auth has no types here
                content, scopes=list(SCOPES)
            )
    except FileNotFoundError:
        raise SourceError(
            f"{KEY_VARIABLE} names the file {path.name}, which is not there"
        ) from None
    except (OSError, ValueError, AttributeError, GoogleAuthError) as error:
        # The chain is cut: what a parser says may quote the file.
        raise SourceError(
            f"{KEY_VARIABLE} names the file {path.name}, which cannot be used as credentials "
            f"({type(error).__name__}); expected is the JSON key of a service account"
        ) from None
    return f"{kind.replace('_', ' ')} of {KEY_VARIABLE}", credentials


def _token() -> Credentials | None:
    from ee import oauth
    from google.oauth2.credentials import Credentials as Token

    try:
        arguments: dict[str, Any] = oauth.get_credentials_arguments()
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    if not arguments.get("refresh_token"):
        return None
    return Token(None, **arguments)  # type: ignore[no-untyped-call]  # google-auth has no types here


def _application_default() -> Credentials:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        with warnings.catch_warnings():
            # It advises to set a project with gcloud; ours comes from the environment.
            warnings.simplefilter("ignore")
            credentials, _ = google.auth.default(scopes=list(SCOPES))
    except DefaultCredentialsError:
        raise SourceError(NO_CREDENTIALS) from None
    return credentials


def examine_connection(endpoint: Endpoint) -> list[tuple[bool, str, str]]:
    """Return what there is and what is missing, as (fine, what, detail); nothing is sent."""
    findings = []
    try:
        findings.append((True, "project", stated_project()))
    except SourceError as error:
        findings.append((False, "project", str(error)))
    try:
        base_url = address(endpoint)
    except SourceError as error:
        return [*findings, (False, "service", str(error))]
    findings.append((True, "service", base_url))
    if findings[0][0]:
        findings += _limits(base_url, findings[0][2])
    if urlsplit(base_url).hostname in _LOOPBACK:
        return [*findings, (True, "credentials", "none, as on loopback")]
    try:
        kind, _ = _found()
    except SourceError as error:
        return [*findings, (False, "credentials", str(error))]
    return [*findings, (True, "credentials", kind)]


def _limits(base_url: str, project: str) -> list[tuple[bool, str, str]]:
    """What hinders runs from sharing their limits on this machine; empty: nothing."""
    from geo_assets.sources.earth_engine.machine_limits import FOLDER_VARIABLE, limits_folder

    try:
        folder = limits_folder(base_url, project)
    except SourceError as error:
        return [(False, "limits", str(error))]
    if os.access(folder, os.W_OK | os.X_OK):
        return []
    return [(False, "limits", f"{folder} is read-only; name another folder by {FOLDER_VARIABLE}")]
