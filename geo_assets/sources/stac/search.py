"""Finds the items of a static STAC catalog or of a STAC API, hrefs made absolute.

Nothing is filtered here but what an API filters itself (area, dates, collections).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pystac
import pystac_client
from pystac.errors import STACError, STACTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from requests import ConnectionError as NoConnection
from requests import RequestException, Timeout
from requests.exceptions import ChunkedEncodingError, RetryError
from shapely.errors import ShapelyError
from urllib3 import Retry

from geo_assets.errors import SourceError
from geo_assets.sources.protocol import LeftOut
from geo_assets.sources.scenes.asset_files import is_remote, local_path
from geo_assets.sources.scenes.order import solar_day
from geo_assets.sources.scenes.servers import RETRYABLE_STATUS
from geo_assets.sources.stac.paging import found_features

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geo_assets.sources.protocol import Item, SceneQuery
    from geo_assets.sources.scenes.asset_files import HttpRules

CatalogKind = Literal["auto", "static", "api"]

METHOD_NOT_ALLOWED = 405
_KEPT_LINKS = frozenset({"collection", "license", "via", "canonical"})
"""Links that say something outside of the catalog they were found in."""
# What pystac raises for records that are no STAC: its own errors, and those of plain dictionaries,
# numbers and dates. A STACTypeError is no STACError.
_DAMAGED = (
    STACError,
    STACTypeError,
    APIError,
    OSError,
    RequestException,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    AttributeError,
    RecursionError,
)
_AWAY = (NoConnection, Timeout, ChunkedEncodingError, RetryError)


@dataclass
class StacSearch:
    """Finds items; a static catalog is walked once and remembered."""

    location: str
    collections: tuple[str, ...]
    kind: CatalogKind
    http: HttpRules
    _walked: tuple[list[Item], list[LeftOut]] | None = field(default=None, init=False)

    def find(self, query: SceneQuery) -> tuple[list[Item], list[LeftOut]]:
        """Return the items that may serve a query, and records that could not be read.

        Raises:
            SourceError: If the catalog or API cannot be read, or an API gives fewer items than it
                said it has.
        """
        if self._is_api():
            items, damaged = self._searched(query)
        else:
            self._walked = self._walked or self._walk()
            items, damaged = self._walked
        return [item for item in items if _of_the_dates(item, query)], damaged

    def _io(self) -> StacApiIO:
        patience = Retry(
            self.http.attempts - 1,
            status_forcelist=RETRYABLE_STATUS,
            allowed_methods=None,  # any: a search is a POST, and changes nothing
            backoff_factor=self.http.wait_initial_s,
            backoff_jitter=self.http.wait_initial_s,
            backoff_max=self.http.wait_max_s,
            retry_after_max=int(self.http.wait_max_s),
            raise_on_status=False,  # what the server says last is told
        )
        return StacApiIO(timeout=self.http.timeout_s, max_retries=patience)

    def _is_api(self) -> bool:
        if self.kind == "auto":
            local = local_path(self.location) is not None or not is_remote(self.location)
            self.kind = "static" if local or not self._says_it_is_an_api() else "api"
        return self.kind == "api"

    def _says_it_is_an_api(self) -> bool:
        """Whether the landing page lists what it conforms to, which a file does not."""
        try:
            landing = self._io().read_json(self.location)
        except _DAMAGED as error:
            raise SourceError(f"{self.location}: no STAC is found there: {error}") from error
        return bool(landing.get("conformsTo"))

    def _searched(self, query: SceneQuery) -> tuple[list[Item], list[LeftOut]]:
        # A solar day may be the day before or after in UTC.
        around = (query.start - dt.timedelta(days=1), query.end + dt.timedelta(days=1))
        name = f"{self.location}: the search of {', '.join(self.collections) or 'everything'}"
        io = self._io()
        try:
            client = pystac_client.Client.open(self.location, stac_io=io)
            search = partial(
                client.search,
                bbox=query.box.wgs84_bounds(),
                datetime=f"{around[0]}T00:00:00Z/{around[1]}T23:59:59Z",
                collections=list(self.collections) or None,
            )
            features = _asked(
                client, lambda method: found_features(io, search(method=method), name)
            )
            items, damaged = self._records_of(features, client)
            # A search of a collection that is not there finds nothing and says nothing.
            named = {item.get("collection") for item in items}
            silent = [each for each in self.collections if each not in named]
            missing = [each for each in silent if client.get_collection(each) is None]
        except _DAMAGED as error:
            raise SourceError(f"{name} failed: {error}") from error
        if missing:
            raise SourceError(f"{self.location}: has no collection {missing}")
        return items, damaged

    def _records_of(
        self, features: Iterable[Any], client: pystac_client.Client
    ) -> tuple[list[Item], list[LeftOut]]:
        """Return what an API found as items; one that cannot be understood costs itself alone."""
        local = _on_this_machine(self.location)
        items: list[Item] = []
        damaged: list[LeftOut] = []
        for position, feature in enumerate(features, 1):
            try:
                item = pystac.Item.from_dict(feature, root=client)
                items.append(_item_record(item, paths=local))
            except _DAMAGED as error:
                name = feature.get("id") if isinstance(feature, dict) else None
                name = f"item {position} of the search" if name is None else str(name)
                damaged.append(LeftOut(name, "damaged", _unreadable(error)))
        return items, damaged

    def _walk(self) -> tuple[list[Item], list[LeftOut]]:
        href = self.location if is_remote(self.location) else str(_catalog_file(self.location))
        try:
            root = pystac.read_file(href, stac_io=self._io())
        except _DAMAGED as error:
            raise SourceError(
                f"{self.location}: is no readable STAC catalog: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(root, pystac.Catalog):
            raise SourceError(
                f"{self.location}: is a STAC {type(root).__name__}; needed is a catalog.json or "
                "collection.json"
            )
        items: list[Item] = []
        damaged: list[LeftOut] = []
        names: set[str] = set()
        for record in _records(root, names, self.location):
            if isinstance(record, LeftOut):
                damaged.append(record)
            elif not self.collections or record.get("collection") in self.collections:
                items.append(record)
        missing = sorted(set(self.collections) - names)
        if missing:
            raise SourceError(
                f"{self.location}: has no collection {missing}; it has {sorted(names)}"
            )
        return items, damaged


def _asked(client: pystac_client.Client, ask: Callable[[str], list[Any]]) -> list[Any]:
    """Search by POST, and by GET where an API advertises GET alone or answers 405 to POST.

    Every API must know GET; a search link that names no method means it.
    """
    links = [link for link in client.links if link.rel == "search"]
    if links and all(link.extra_fields.get("method", "GET") == "GET" for link in links):
        return ask("GET")
    try:
        return ask("POST")
    except APIError as error:
        if _status_of(error) != METHOD_NOT_ALLOWED:
            raise
    return ask("GET")


def _records(catalog: pystac.Catalog, names: set[str], location: str) -> Iterator[Item | LeftOut]:
    """Walk a static catalog; a record that is gone or makes no sense costs itself alone.

    Args:
        catalog: Where to begin.
        names: Gathers the ids of the collections met.
        location: Names the whole catalog in messages.

    Raises:
        SourceError: If a record cannot be had just now: its scenes would pass for withdrawn, and
            results would lose them.
    """
    if isinstance(catalog, pystac.Collection):
        names.add(catalog.id)
    root = catalog.get_root()
    for link in catalog.links:
        if link.rel not in {"child", "item"}:
            continue
        try:
            found = link.resolve_stac_object(root=root).target
            record = _item_record(found) if isinstance(found, pystac.Item) else None
        except _DAMAGED as error:
            href = link.get_absolute_href() or link.href
            name = Path(href).name
            if _may_pass(error):
                raise SourceError(
                    f"{location}: {name} cannot be read just now, and a part of a catalog is never "
                    f"taken for the whole: {_reason(error)}; try again later"
                ) from error
            yield LeftOut(name, "damaged", _unreadable(error))
            continue
        if record is not None:
            names.add(str(record.get("collection")))
            yield record
        elif isinstance(found, pystac.Catalog):
            yield from _records(found, names, location)


def _may_pass(error: BaseException) -> bool:
    """Whether a record may be read later: its server or disk is away, it is not itself at fault."""
    reason = _reason(error)
    if isinstance(reason, APIError):
        status = _status_of(reason)
        # Without a status nobody answered; or what was asked, or the answer, makes no sense.
        return status in RETRYABLE_STATUS if status else isinstance(reason.__context__, _AWAY)
    gone = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
    return isinstance(reason, OSError) and not isinstance(reason, gone)


def _status_of(error: APIError) -> int | None:
    """Return the HTTP status; None where there was no answer: then nobody has set the attribute."""
    status: int | None = getattr(error, "status_code", None)
    return status


def _reason(error: BaseException) -> BaseException:
    while error.__cause__ is not None:  # pystac wraps what happened
        error = error.__cause__
    return error


def _unreadable(error: BaseException) -> str:
    """Say why a record cannot be read, without folders, for it ends in a published table."""
    error = _reason(error)
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, FileNotFoundError):
        words = "the file is missing"
    elif "/" in words:
        words = type(error).__name__
    return f"its record cannot be read: {words}"


def _item_record(item: pystac.Item, *, paths: bool = False) -> Item:
    """Return an item as JSON values, with absolute hrefs and a ``datetime`` that is not null.

    Args:
        item: The item, knowing where it was found.
        paths: Whether ``/…`` is a path. For items found at a URL it is otherwise a place on
            their host, as URLs have it.
    """
    local = {key: asset.href for key, asset in item.assets.items() if asset.href.startswith("/")}
    item.make_asset_hrefs_absolute()
    for key, href in local.items() if paths else ():
        item.assets[key].href = href
    links = {
        # One collection, the catalog's own; of others as many as there are.
        link.rel if link.rel == "collection" else (link.rel, link.href): {
            **link.to_dict(transform_href=False),
            "href": link.get_absolute_href() or link.href,
        }
        for link in item.links
        if link.rel in _KEPT_LINKS
    }
    record: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    record["links"] = list(links.values())
    if record["properties"].get("datetime") is None:
        # A range of time, as composites have it; it is sorted and shown by its beginning.
        record["properties"]["datetime"] = record["properties"].get("start_datetime")
    return record


def _on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}


def _of_the_dates(item: Item, query: SceneQuery) -> bool:
    """Whether an item is a candidate by its solar day; one without a usable date is, as damaged."""
    try:
        return bool(query.start <= solar_day(item).item() <= query.end)
    except (KeyError, TypeError, ValueError, AttributeError, ShapelyError):
        return True


def _catalog_file(location: str) -> Path:
    """Return the file of a local catalog; a folder stands for its catalog.json.

    Raises:
        SourceError: If there is none.
    """
    path = local_path(location) or Path(location)
    for candidate in (path, path / "catalog.json", path / "collection.json"):
        if candidate.is_file():
            return candidate.absolute()
    raise SourceError(f"{location}: there is no STAC catalog (catalog.json or collection.json)")
