"""Tokens of credentials: one at a time for all threads, renewed before it expires.

google-auth's own renewal takes no lock: forty threads would renew an expired token forty times.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geo_assets.sources.earth_engine.faults import CredentialsError, TransientFault

if TYPE_CHECKING:
    from google.auth.credentials import Credentials


@dataclass(frozen=True, eq=False)
class Token:
    """What one issue of a token adds to a request. Compared by identity: each issue is its own."""

    headers: dict[str, str]

    def __repr__(self) -> str:
        return "Token(...)"


class Tokens:
    """The token in use."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._answer_to_refusal: Token | None = None

    def current(self) -> Token:
        """Return the token in use; a new one if it is about to expire.

        Raises:
            CredentialsError: The credentials give no token.
            TransientFault: The server of tokens is out of reach.
        """
        with self._lock:
            # ``valid`` ends minutes before the token does, by google-auth's own margin.
            if self._token is None or not self._credentials.valid:
                self._token = self._issue()
            return self._token

    def renewed(self, refused: Token) -> Token | None:
        """Return another token for one that the server refused.

        None if that one was itself the answer to a refusal: the fault is not the token's age.

        Raises:
            CredentialsError: The credentials give no token.
            TransientFault: The server of tokens is out of reach.
        """
        with self._lock:
            if self._token is not refused and self._token is not None:
                return self._token
            if refused is self._answer_to_refusal:
                return None
            self._token = self._answer_to_refusal = self._issue(anew=True)
            return self._token

    def _issue(self, *, anew: bool = False) -> Token:
        import google.auth.exceptions
        import google.auth.transport.urllib3
        import urllib3

        headers: dict[str, str] = {}
        try:
            if anew or not self._credentials.valid:
                with urllib3.PoolManager() as pool:
                    # google-auth has no types here
                    request = google.auth.transport.urllib3.Request(pool)  # type: ignore[no-untyped-call]
                    self._credentials.refresh(request)  # type: ignore[no-untyped-call]
            self._credentials.apply(headers)  # type: ignore[no-untyped-call]
        except google.auth.exceptions.GoogleAuthError as error:
            what = f"no token for Earth Engine: {_first_line(error)}"
            if error.retryable or isinstance(error, google.auth.exceptions.TransportError):
                raise TransientFault(what) from error
            raise CredentialsError(
                f"{what}; sign in again with `earthengine authenticate` or check the "
                "service account"
            ) from error
        return Token(headers)


def _first_line(error: BaseException) -> str:
    # Further arguments hold the whole answer of the server of tokens.
    return str(error.args[0] if error.args else type(error).__name__)[:200]
