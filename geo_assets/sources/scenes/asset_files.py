"""Opens the raster files of scenes, local or remote, and says why one could not be read.

Every failure becomes a ReadError whose kind can be trusted. GDAL's own words cannot: it calls a
failed request "not a supported file format". So after a failure the file itself is asked: is it
there, what does the server answer, with which bytes does it begin. Messages name files without
folder or host, for they end in published tables.

Retries are in this one layer (GDAL's are off). What pixels are read is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import rasterio
import stamina
from rasterio.errors import CRSError, RasterioError

from geo_assets.errors import RETRYABLE, ErrorKind, ReadError
from geo_assets.sources.scenes.cache import MAGIC
from geo_assets.sources.scenes.failures import RecentFailures, RemoteReadError
from geo_assets.sources.scenes.open_files import opened
from geo_assets.sources.scenes.servers import ask_for, diagnosis_of
from geo_assets.storage.rasters.gdal_errors import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rasterio import DatasetReader

    from geo_assets.sources.scenes.cache import SceneCache
    from geo_assets.sources.stac.signing import Signing

Result = TypeVar("Result")

_EXPIRED = frozenset({401, 403})
# Names in a damaged CRS need not even be text.
_FAILURES = (RasterioError, CRSError, OSError, UnicodeDecodeError)


@dataclass(frozen=True)
class HttpRules:
    """How patient reads over HTTP are."""

    attempts: int = 4
    """Attempts in all for one asset, or one question to a catalog."""
    timeout_s: float = 30.0
    """Seconds for one request, also for its connection."""
    total_s: float = 180.0
    """Seconds for all attempts."""
    wait_initial_s: float = 0.5
    """First wait, doubled each time, with jitter."""
    wait_max_s: float = 20.0
    """Longest wait, also where the server's Retry-After asks for more."""


@dataclass(frozen=True)
class AssetFiles:
    """Opens assets by href.

    Attributes:
        http: Patience of remote reads.
        signing: Signs hrefs when they are read; signed ones are never kept.
        cache: Keeps downloaded assets for the next run.
    """

    http: HttpRules = HttpRules()
    signing: Signing | None = None
    cache: SceneCache | None = None
    _failures: RecentFailures = field(
        default_factory=RecentFailures, init=False, repr=False, compare=False
    )
    _loaded_again: set[Path] = field(default_factory=set, init=False, repr=False, compare=False)

    def read(
        self, href: str, work: Callable[[DatasetReader], Result], what: str, version: str = ""
    ) -> Result:
        """Open an asset and return what ``work`` makes of it.

        Args:
            href: Absolute path, ``file:`` or ``http(s):`` URL.
            work: Reads from the open dataset; may be called again after a failure.
            what: Names the asset in messages, such as ``scene X, asset B04``.
            version: What else tells the asset from others that lie at this href at other times: a
                kept one serves its version alone.

        Raises:
            ReadError: permanent: missing, forbidden or refused; invalid_payload: bytes that are no
                raster or cannot be decoded; transient: everything that may pass.
        """
        name = f"{what} ({_name(href)})"
        local = local_path(href)
        if local is not None:
            return self._read_local(local, work, name)
        if not is_remote(href):
            raise ReadError(
                f"{name}: hrefs like {urlsplit(href).scheme}:… are refused; allowed are paths, "
                "file:, http: and https:",
                kind="permanent",
            )
        if self.cache is not None:
            return self._read_kept(self.cache, (href, version), work, name)
        return self._patiently(
            href, name, lambda signed, fresh: self._read_remote(href, signed, work, name, fresh)
        )

    def _patiently(self, href: str, name: str, ask: Callable[[str, bool], Result]) -> Result:
        """Ask for a signed href until it answers or patience ends.

        Args:
            href: What is asked for, unsigned.
            name: Names the asset in messages.
            ask: Gets the signed href, and whether it is not the first to ask.
        """
        self._failures.check(href, name)
        try:
            return self._asked(href, ask)
        except ReadError as error:
            self._failures.note(href, name, error)
            raise

    def _asked(self, href: str, ask: Callable[[str, bool], Result]) -> Result:
        renewed = False
        for attempt in stamina.retry_context(
            on=self._worth_another_try,
            attempts=self.http.attempts,
            timeout=self.http.total_s,
            wait_initial=self.http.wait_initial_s,
            wait_max=self.http.wait_max_s,
            wait_jitter=self.http.wait_initial_s,
        ):
            with attempt:
                try:
                    return ask(self._signed(href), attempt.num > 1 or renewed)
                except RemoteReadError as failure:
                    if self.signing is None or renewed or failure.status not in _EXPIRED:
                        raise
                # Outside of the handler, so that a second failure is not chained to the first.
                renewed = True
                self.signing.renew(href)
                return ask(self._signed(href), True)
        raise AssertionError  # the loop above returns or raises

    def _signed(self, href: str) -> str:
        return href if self.signing is None else self.signing.sign(href)

    def _worth_another_try(self, error: Exception) -> bool | float:
        if not isinstance(error, ReadError) or error.kind not in RETRYABLE:
            return False
        wait = getattr(error, "retry_after_s", None)
        return True if wait is None else min(wait, self.http.wait_max_s)

    def _read_local(self, path: Path, work: Callable[[DatasetReader], Result], name: str) -> Result:
        begun = _Begun(work)
        try:
            with opened(path, lambda: _open_local(path)) as dataset:
                return begun(dataset)
        except ReadError as error:
            raise ReadError(f"{name}: {error}", kind=error.kind) from error
        except _FAILURES as error:
            kind, why = _diagnose_local(path)
            detail = reason_of(error).replace(str(path), path.name)
            whole = why is not None or not begun.has
            raise ReadError(f"{name}: {why or detail}", kind=kind, whole=whole) from error

    def _read_remote(
        self,
        href: str,
        signed: str,
        work: Callable[[DatasetReader], Result],
        name: str,
        fresh: bool,
    ) -> Result:
        options: dict[str, str | int | float] = {
            "GDAL_HTTP_MAX_RETRY": 0,
            "GDAL_HTTP_TIMEOUT": self.http.timeout_s,
            "GDAL_HTTP_CONNECTTIMEOUT": self.http.timeout_s,
        }
        if fresh:
            # GDAL remembers for the whole process that a URL has failed.
            options["CPL_VSIL_CURL_NON_CACHED"] = "/vsicurl/"
        begun = _Begun(work)
        try:
            with rasterio.Env(**options), _open(signed, options) as dataset:
                return begun(dataset)
        except ReadError as error:
            raise ReadError(f"{name}: {error}", kind=error.kind) from error
        except _FAILURES as error:
            detail = reason_of(error).replace(signed, _name(href))
            timeout_s = self.http.timeout_s
            raise diagnosis_of(signed, name, detail, timeout_s, whole=not begun.has) from None

    def _read_kept(
        self,
        cache: SceneCache,
        asset: tuple[str, str],
        work: Callable[[DatasetReader], Result],
        name: str,
    ) -> Result:
        href, version = asset
        path = cache.path_of(href, version)

        def load(signed: str, _again: bool) -> None:
            with ask_for(signed, name, self.http.timeout_s) as response:
                cache.keep(path, response, name)
            if version:  # what was kept without one is of nobody knows which
                cache.path_of(href).unlink(missing_ok=True)

        if not path.is_file():
            with cache.locked(path):
                if not path.is_file():  # or another thread or run has loaded it by now
                    self._patiently(href, name, load)
        try:
            return self._read_local(path, work, name)
        except ReadError as error:
            if error.kind != "invalid_payload":
                raise
        with cache.locked(path):
            # Once: what is damaged still is damaged where it comes from.
            if path not in self._loaded_again:
                self._patiently(href, name, load)
                self._loaded_again.add(path)
        return self._read_local(path, work, name)


@lru_cache(maxsize=4096)  # asked for every window
def local_path(href: str) -> Path | None:
    """Return the path of an href in the file system, None for anything else."""
    parts = urlsplit(href)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(href) if href.startswith("/") and not href.startswith("/vsi") else None


@lru_cache(maxsize=4096)
def is_remote(href: str) -> bool:
    """Whether an href is read over HTTP."""
    return urlsplit(href).scheme in {"http", "https"}


def _open_local(path: Path) -> DatasetReader:
    mask = path.with_name(f"{path.name}.msk")
    if mask.is_file():
        # GDAL is not let look for files beside one, and whose checksum is taken is but the one.
        raise ReadError(
            f"its mask lies in {mask.name}, which is not read; put it into the file: "
            "gdal_translate --config GDAL_TIFF_INTERNAL_MASK YES, or take it away",
            kind="permanent",
        )
    return _open(str(path), {})


def _open(target: str, options: dict[str, str | int | float]) -> DatasetReader:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", **options):
        return rasterio.open(target, driver=_driver(target), sharing=False)


def _driver(target: str) -> str:
    """The one GDAL driver that may open a file; a VRT, for one, could make GDAL read anything."""
    return "JP2OpenJPEG" if urlsplit(target).path.casefold().endswith(".jp2") else "GTiff"


def _diagnose_local(path: Path) -> tuple[ErrorKind, str | None]:
    """Say what is wrong with a file that could not be read; None: its content."""
    try:
        with path.open("rb") as file:
            begins = file.read(12)
    except FileNotFoundError:
        return "permanent", "the file is missing"
    except OSError as error:
        return "permanent", f"the file cannot be opened: {error.strerror}"
    if not begins.startswith(MAGIC):
        return "invalid_payload", f"it is no raster, it begins with {begins!r}"
    return "invalid_payload", None


class _Begun(Generic[Result]):
    """Work on an open file, and whether it came to that."""

    def __init__(self, work: Callable[[DatasetReader], Result]) -> None:
        self.has = False
        self._work = work

    def __call__(self, dataset: DatasetReader) -> Result:
        self.has = True
        return self._work(dataset)


def _name(href: str) -> str:
    return unquote(urlsplit(href).path).rsplit("/", 1)[-1]
