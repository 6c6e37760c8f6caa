"""STAC as a source of pixels: static catalogs by path or URL, and STAC APIs.

Which scenes a catalog has is found by ``pystac`` and ``pystac-client`` in ``search``; which of
them are used is decided in ``scenes.selection``; pixels come from ``scenes.reader``.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from geo_assets.sources.protocol import ASSETS_OF_KIND
from geo_assets.sources.scenes.asset_files import AssetFiles, HttpRules
from geo_assets.sources.scenes.band_keys import find_band
from geo_assets.sources.scenes.cache import SceneCache
from geo_assets.sources.scenes.reader import SceneReader
from geo_assets.sources.scenes.reflectance import digital_number_offset
from geo_assets.sources.scenes.selection import choose_scenes
from geo_assets.sources.stac.search import CatalogKind, StacSearch
from geo_assets.sources.stac.signing import SigningName, signing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from odc.geo.geobox import GeoBox

    from geo_assets.sources.protocol import (
        Item,
        RasterSource,
        SceneQuery,
        SceneRead,
        SceneSelection,
    )


@dataclass(frozen=True)
class StacRules:
    """Everything a user may choose about a STAC source."""

    location: str
    """Path or URL of a ``catalog.json`` or ``collection.json``, or URL of a STAC API."""
    collections: tuple[str, ...] = ()
    """Ids of the collections searched; empty: all."""
    kind: CatalogKind = "auto"
    """``static``, ``api``, or ``auto``: what the landing page says."""
    signing: SigningName = "none"
    """How hrefs are signed when they are read."""
    offsets: Mapping[str, int] = field(default_factory=dict)
    """Digital-number offset by collection, for items that state none, or no whole number."""
    nodata: float | None = None
    """No-data value where neither item nor file states one (Sentinel-2: 0)."""
    resampling: str = "nearest"
    """GDAL's name of the rule for reflectance off the scene's lattice."""
    keep_scenes: Path | None = None
    """Folder in which downloaded assets are kept for the next run; None: not kept."""
    http: HttpRules = field(default_factory=HttpRules)
    """How patient requests are."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """What else decides pixels and is not in item ids, such as the digest of a simulated archive:
    JSON values that become part of recipes."""


class StacSource:
    """A STAC catalog or API as a source of pixels (a ``RasterSource``)."""

    supports = ASSETS_OF_KIND["stac"]
    single_raster = False

    def __init__(self, rules: StacRules, token: str | None = None) -> None:
        """Open a source.

        Args:
            rules: What a user chose.
            token: Of the source in another process that this one stands for; None: of none.
        """
        self.rules = rules
        self._token = token or uuid.uuid4().hex
        self._search = StacSearch(rules.location, rules.collections, rules.kind, rules.http)
        cache = None if rules.keep_scenes is None else SceneCache(rules.keep_scenes)
        self._reader = SceneReader(
            files=AssetFiles(rules.http, signing_of(rules.signing, rules.http), cache),
            resampling=rules.resampling,
            nodata=rules.nodata,
            offsets=rules.offsets,
        )

    def __reduce__(self) -> tuple[Callable[..., StacSource], tuple[StacRules, str]]:
        # A catalog that was walked here is not sent to another process.
        return _opened_once, (self.rules, self._token)

    def describe(self) -> dict[str, Any]:
        """Return what of the source decides pixels, for recipes.

        Not the catalog: the same items in a folder and behind an API give the same pixels.
        """
        return {
            "kind": "stac",
            "collections": sorted(self.rules.collections),
            "offsets": dict(sorted(self.rules.offsets.items())),
            "nodata": self.rules.nodata,
            "resampling": self.rules.resampling,
            **self.rules.identity,
        }

    def select(self, query: SceneQuery) -> SceneSelection:
        """Return the scenes to use, and those left out with the reason.

        Clouds are filtered here and not by an API: some ignore such a filter and answer nothing,
        and what is left out is to be told.

        Raises:
            SourceError: If the catalog cannot be read, or the offset of a scene stays undecided.
        """
        found, damaged = self._search.find(query)
        selection = choose_scenes(found, query, damaged)
        for item in selection.items:
            for band in query.bands:
                place = find_band(item, band)
                digital_number_offset(item, place.asset_key, self.rules.offsets, index=place.index)
        return selection

    def native_geobox(self, item: Item, band: str) -> GeoBox:
        """Return the pixel grid of one band of a scene."""
        return self._reader.native_geobox(item, band)

    def read(
        self, item: Item, bands: Sequence[str], geobox: GeoBox, *, scl_band: str | None = None
    ) -> SceneRead:
        """Return the pixels of a scene on a grid, see ``RasterSource.read``."""
        return self._reader.read(item, bands, geobox, scl_band)


_MOST_OPENED = 4
_OPENED: dict[str, StacSource] = {}
_OPENING = threading.Lock()


def _opened_once(rules: StacRules, token: str) -> StacSource:
    """Return what stands for the source of another process here, the same for each of its tasks.

    It remembers failures for a run: opened for each block, it would ask a server that is down, and
    load a file that is torn, as often as there are blocks.
    """
    with _OPENING:
        if token not in _OPENED:
            _OPENED[token] = StacSource(rules, token)
            while len(_OPENED) > _MOST_OPENED:
                del _OPENED[next(iter(_OPENED))]
        return _OPENED[token]


if TYPE_CHECKING:
    _: type[RasterSource] = StacSource
