"""Downloaded source assets, kept for the next run: one file for each remote href."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests

from geo_assets.errors import ReadError
from geo_assets.storage.atomic import publish

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ")
"""First bytes of TIFF, BigTIFF and JPEG 2000."""


@dataclass(frozen=True)
class SceneCache:
    """A folder of whole source assets; what is there is not asked for again."""

    folder: Path

    def path_of(self, href: str) -> Path:
        """Return where the asset of an (unsigned) href lies or will lie."""
        digest = hashlib.sha256(href.encode()).hexdigest()
        name = PurePosixPath(unquote(urlsplit(href).path)).name
        return self.folder / digest[:2] / f"{digest[:16]}-{name}"

    def keep(self, href: str, response: requests.Response, name: str) -> Path:
        """Store the body of a response, whole or not at all.

        Args:
            href: What was asked for, unsigned.
            response: The answer, body unread; its length is checked where the server states it.
            name: Names the asset in messages.

        Raises:
            ReadError: transient: the body broke off; invalid_payload: it is no raster.
        """
        path = self.path_of(href)
        try:
            with publish(path) as temporary, temporary.open("wb") as file:
                for chunk in _rasters(response, name):
                    file.write(chunk)
        except requests.RequestException as error:
            raise ReadError(
                f"{name}: the download broke off ({type(error).__name__})", kind="transient"
            ) from None
        return path

    def discard(self, href: str) -> None:
        """Remove an asset that turned out to be damaged."""
        self.path_of(href).unlink(missing_ok=True)


def _rasters(response: requests.Response, name: str) -> Iterator[bytes]:
    """Yield a body in chunks, once its first bytes are those of a raster."""
    begun = False
    for chunk in response.iter_content(_CHUNK):
        if not begun and not chunk.startswith(MAGIC):
            raise ReadError(
                f"{name}: the server sends no raster, it begins with {chunk[:12]!r}",
                kind="invalid_payload",
            )
        begun = True
        yield chunk
    if not begun:
        raise ReadError(f"{name}: the server sends an empty body", kind="invalid_payload")
