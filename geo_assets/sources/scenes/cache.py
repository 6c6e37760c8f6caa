"""Downloaded source assets, kept for the next run: one file for each remote href."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import requests
from filelock import FileLock

from geo_assets.errors import ReadError
from geo_assets.storage.atomic import publish, sweep_temporaries_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ")
"""First bytes of TIFF, BigTIFF and JPEG 2000."""


@dataclass(frozen=True)
class SceneCache:
    """A folder of whole source assets; what is there is not asked for again."""

    folder: Path

    def path_of(self, href: str, version: str = "") -> Path:
        """Return where the asset of an (unsigned) href lies or will lie.

        Args:
            href: What is asked for.
            version: What else tells its pixels from others that lay or will lie there.
        """
        name = PurePosixPath(unquote(urlsplit(href).path)).name
        if version:
            name = f"{_digest(version)[:8]}-{name}"
        digest = _digest(href)
        return self.folder / digest[:2] / f"{digest[:16]}-{name}"

    @contextmanager
    def locked(self, path: Path) -> Iterator[None]:
        """Keep all others, of this machine at least, from loading an asset.

        What a killed run left of it is removed. Some assets share a lock: there are 4096 at most.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name[:3]}.lock")):
            sweep_temporaries_of(path)
            yield

    def keep(self, path: Path, response: requests.Response, name: str) -> None:
        """Store the body of a response, whole or not at all, in the place of what lies there.

        Args:
            path: Where the asset belongs, locked.
            response: The answer, body unread; its length is checked where the server states it.
            name: Names the asset in messages.

        Raises:
            ReadError: transient: the body broke off; invalid_payload: it is no raster.
        """
        try:
            with publish(path) as temporary, temporary.open("wb") as file:
                for chunk in _rasters(response, name):
                    file.write(chunk)
        except requests.RequestException as error:
            raise ReadError(
                f"{name}: the download broke off ({type(error).__name__})", kind="transient"
            ) from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _rasters(response: requests.Response, name: str) -> Iterator[bytes]:
    """Yield a body in chunks, once its first bytes are those of a raster."""
    begun = False
    for chunk in response.iter_content(_CHUNK):
        if not begun and not chunk.startswith(MAGIC):
            raise ReadError(
                f"{name}: the server sends no raster, it begins with {chunk[:12]!r}",
                kind="invalid_payload",
                whole=True,
            )
        begun = True
        yield chunk
    if not begun:
        raise ReadError(
            f"{name}: the server sends an empty body", kind="invalid_payload", whole=True
        )
