"""Signs hrefs at the moment they are read; signed ones reach no table and no message."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import parse_qs, urlsplit

import requests

from geo_assets.errors import ReadError
from geo_assets.sources.scenes.asset_files import HttpRules
from geo_assets.sources.scenes.failures import LASTING_S, TRANSIENT_S, RemoteReadError
from geo_assets.sources.scenes.servers import ask_for

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from planetary_computer.sas import SASToken

_ONE_AT_A_TIME = threading.Lock()
"""Held while a token is asked for, so that threads that need the same one ask once."""

_LEFT_S = 60.0
"""Seconds for which a token must still be good, so that reads begun with it come to their end."""

_DOUBLINGS = 16
"""Enough to reach the longest wait from the shortest."""

# Not "token", what follows would be hidden in messages as if it were one.
_NAME = "the Planetary Computer's service that signs hrefs"

_PUBLIC = frozenset({"ai4edatasetspublicassets.blob.core.windows.net"})
"""Blob storage without signatures, as ``planetary_computer`` has it."""

SigningName = Literal["none", "planetary-computer"]


class Signing(Protocol):
    """A way to sign hrefs."""

    def sign(self, href: str) -> str:
        """Return the href with whatever lets it be read.

        Raises:
            ReadError: If the service that signs does not: permanent: it knows nothing of the href
                or refuses; invalid_payload: its answer is of another form; transient: everything
                that may pass.
        """

    def renew(self, href: str) -> None:
        """Forget what the href was signed with: the server says it has expired."""


@dataclass(frozen=True)
class _Failure:
    """A container's token could not be had, and is not asked for until a while has passed."""

    error: ReadError
    until: float
    """By the monotonic clock, in seconds."""
    in_a_row: int


class PlanetaryComputerSigning:
    """Shared-access tokens of the Planetary Computer, kept by its own library until they expire.

    They are asked for here: the library waits for ever for a server that is silent, and retries
    for minutes, while reads are retried in one layer. A failure is remembered, longer each time.
    ``PC_SDK_SUBSCRIPTION_KEY`` in the environment raises the service's limits.
    """

    def __init__(self, http: HttpRules | None = None) -> None:
        """Sign with a given patience: ``timeout_s`` of a request, ``wait_initial_s`` after one."""
        self._http = http or HttpRules()
        self._failed: dict[str, _Failure] = {}

    def sign(self, href: str) -> str:
        """Sign one href; hrefs of other hosts, and signed ones, come back as they are."""
        from planetary_computer.settings import Settings
        from planetary_computer.utils import parse_blob_url

        place = urlsplit(href)
        if not _needs_a_signature(place):
            return href
        try:
            account, container = parse_blob_url(place)
        except ValueError:
            raise ReadError(f"{_NAME}: the href names no container", kind="permanent") from None
        return str(self._token(f"{Settings.get().sas_url}/{account}/{container}").sign(href).href)

    def renew(self, href: str) -> None:  # noqa: ARG002  # its tokens are per container
        """Forget all tokens."""
        from planetary_computer import sas

        sas.TOKEN_CACHE.clear()

    def _token(self, url: str) -> SASToken:
        """Return the kept token of a URL of the service, or a new one."""
        from planetary_computer import sas

        kept = sas.TOKEN_CACHE.get(url)
        if kept is not None and kept.ttl() > _LEFT_S:
            return kept
        with _ONE_AT_A_TIME:
            kept = sas.TOKEN_CACHE.get(url)  # another thread may have it by now
            if kept is not None and kept.ttl() > _LEFT_S:
                return kept
            self._check(url)
            try:
                token = _asked_for(url, self._http.timeout_s)
            except RemoteReadError as failure:
                self._note(url, failure)
                self._check(url)
                raise
            self._failed.pop(url, None)
            sas.TOKEN_CACHE[url] = token
            return token

    def _note(self, url: str, failure: RemoteReadError) -> None:
        before = self._failed.get(url)
        in_a_row = 1 if before is None else before.in_a_row + 1
        if failure.kind == "permanent":
            lasts = LASTING_S
        else:
            doubled = self._http.wait_initial_s * 2 ** min(in_a_row - 1, _DOUBLINGS)
            lasts = min(max(doubled, failure.retry_after_s or 0.0), TRANSIENT_S)
        self._failed[url] = _Failure(failure, monotonic() + lasts, in_a_row)

    def _check(self, url: str) -> None:
        """Raise what is remembered of a URL, with the seconds until it is asked again."""
        known = self._failed.get(url)
        left = 0.0 if known is None else known.until - monotonic()
        if known is not None and left > 0:
            kind = known.error.kind
            raise RemoteReadError(
                str(known.error),
                kind=kind,
                whole=True,
                retry_after_s=left,
                # Without a signature no file of the host can be reached, for as long as it lasts.
                unreachable=kind != "permanent",
            ) from None


def _needs_a_signature(place: SplitResult) -> bool:
    from planetary_computer import sas

    if not place.netloc.endswith(sas.BLOB_STORAGE_DOMAIN) or place.netloc in _PUBLIC:
        return False
    return parse_qs(place.query).keys().isdisjoint({"st", "se", "sp"})


def _asked_for(url: str, timeout_s: float) -> SASToken:
    """Ask the service once.

    Raises:
        RemoteReadError: If it gives no token.
    """
    from planetary_computer.sas import SASToken
    from planetary_computer.settings import Settings

    key = Settings.get().subscription_key
    headers = {"Ocp-Apim-Subscription-Key": key} if key else None
    try:
        with ask_for(url, _NAME, timeout_s, headers) as response:
            body = response.content
    except requests.RequestException as error:
        raise RemoteReadError(f"{_NAME}: {type(error).__name__}", kind="transient") from None
    try:
        token = SASToken(**json.loads(body))
        token.ttl()  # a time without its zone cannot be compared
    except (ValueError, TypeError) as error:
        raise RemoteReadError(
            f"{_NAME}: its answer is of another form: {type(error).__name__}",
            kind="invalid_payload",
        ) from None
    return token


def signing_of(name: SigningName, http: HttpRules) -> Signing | None:
    """Return the way to sign that a campaign names, as patient as its other requests."""
    return PlanetaryComputerSigning(http) if name == "planetary-computer" else None


if TYPE_CHECKING:
    _: type[Signing] = PlanetaryComputerSigning
