"""Signs hrefs at the moment they are read; signed ones reach no table and no message."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit

from geo_assets.errors import ReadError

_ONE_AT_A_TIME = threading.Lock()
"""Held while a token is asked for, so that threads that need the same one ask once."""

SigningName = Literal["none", "planetary-computer"]


class Signing(Protocol):
    """A way to sign hrefs."""

    def sign(self, href: str) -> str:
        """Return the href with whatever lets it be read.

        Raises:
            ReadError: If the service that signs does not answer (transient).
        """

    def renew(self, href: str) -> None:
        """Forget what the href was signed with: the server says it has expired."""


class PlanetaryComputerSigning:
    """Shared-access tokens of the Planetary Computer, kept by its own library until they expire.

    ``PC_SDK_SUBSCRIPTION_KEY`` in the environment raises the service's limits.
    """

    def sign(self, href: str) -> str:
        """Sign one href; hrefs of other hosts come back as they are."""
        import planetary_computer
        import requests
        from planetary_computer import sas
        from planetary_computer.utils import parse_blob_url

        place = urlsplit(href)
        try:
            if place.netloc.endswith(sas.BLOB_STORAGE_DOMAIN):
                # Its own ten retries take minutes, and reads are retried in one layer.
                with _ONE_AT_A_TIME:
                    sas.get_token(*parse_blob_url(place), retry_total=0)
            return str(planetary_computer.sign(href))
        except requests.RequestException as error:
            raise ReadError(
                f"the Planetary Computer gives no token: {type(error).__name__}", kind="transient"
            ) from None

    def renew(self, href: str) -> None:  # noqa: ARG002  # its tokens are per container
        """Forget all tokens."""
        from planetary_computer import sas

        sas.TOKEN_CACHE.clear()


def signing_of(name: SigningName) -> Signing | None:
    """Return the way to sign that a campaign names."""
    return PlanetaryComputerSigning() if name == "planetary-computer" else None


if TYPE_CHECKING:
    _: type[Signing] = PlanetaryComputerSigning
