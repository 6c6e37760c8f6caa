"""One multi-band GeoTIFF as a source of pixels: an archive of a single scene."""

from __future__ import annotations

import datetime as dt
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import shapely.affinity

from geo_assets.core.grids import crs_of
from geo_assets.errors import ReadError, SourceError
from geo_assets.sources.protocol import ASSETS_OF_KIND
from geo_assets.sources.scenes.asset_files import AssetFiles
from geo_assets.sources.scenes.order import solar_shift
from geo_assets.sources.scenes.reader import SceneReader
from geo_assets.sources.scenes.selection import choose_scenes
from geo_assets.sources.scenes.window import native_grid
from geo_assets.storage.atomic import sha256_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from odc.geo.geobox import GeoBox
    from rasterio import DatasetReader
    from shapely.geometry.base import BaseGeometry

    from geo_assets.sources.protocol import (
        Item,
        RasterSource,
        SceneQuery,
        SceneRead,
        SceneSelection,
    )

ASSET = "image"
_FOOTPRINT_POINTS = 64
"""Points along each edge of the footprint: an edge that is straight here is a curve there."""
_WORLD = shapely.box(-180, -90, 180, 90)


@dataclass(frozen=True)
class RasterRules:
    """Everything a user may choose about a single raster."""

    file: Path
    date: dt.date
    """Day of acquisition."""
    band_names: tuple[str, ...] | None = None
    """Names in file order; None: the file's own band descriptions."""
    nodata: float | None = None
    """No-data value; None: what the file says."""
    resampling: str = "nearest"
    """GDAL's name of the rule off the raster's lattice."""


class LocalRasterSource:
    """A GeoTIFF as a source of pixels (a ``RasterSource``)."""

    supports = ASSETS_OF_KIND["raster"]
    single_raster = True

    def __init__(self, rules: RasterRules) -> None:
        self.rules = rules
        self._files = AssetFiles()
        self._reader = SceneReader(files=self._files, resampling=rules.resampling)

    def __reduce__(self) -> tuple[type[LocalRasterSource], tuple[RasterRules]]:
        return type(self), (self.rules,)  # in another process it is opened anew

    def describe(self) -> dict[str, Any]:
        """Return what decides pixels: the file's sha256, and how it is understood.

        Raises:
            SourceError: If the file cannot be read.
        """
        return {
            "kind": "raster",
            "sha256": _sha256(self.rules.file),
            "date": str(self.rules.date),
            "band_names": list(self.rules.band_names or ()),
            "nodata": self.rules.nodata,
            "resampling": self.rules.resampling,
        }

    @functools.cached_property
    def item(self) -> Item:
        """The raster as a STAC item, named by its file.

        Raises:
            ReadError: If the file is missing, is no raster or has no CRS.
            SourceError: If the names of its bands are unknown or are not as many as the bands.
        """
        return self._files.read(
            str(self.rules.file.absolute()), self._record, f"raster {self.rules.file.stem}"
        )

    def select(self, query: SceneQuery) -> SceneSelection:
        """Return the raster, or why it is left out."""
        return choose_scenes([self.item], query)

    def native_geobox(self, item: Item, band: str) -> GeoBox:
        """Return the raster's grid, the same for all bands."""
        return self._reader.native_geobox(item, band)

    def read(
        self, item: Item, bands: Sequence[str], geobox: GeoBox, *, scl_band: str | None = None
    ) -> SceneRead:
        """Return the raster's pixels on a grid, see ``RasterSource.read``."""
        return self._reader.read(item, bands, geobox, scl_band)

    def _record(self, dataset: DatasetReader) -> Item:
        grid = native_grid(dataset)
        outline = _outline(grid)
        west, south, east, north = outline.bounds
        # Noon by the sun, so that the solar day is the campaign's day at any longitude.
        noon = dt.datetime.combine(self.rules.date, dt.time(12), dt.UTC)
        noon -= solar_shift((west + east) / 2)
        nodata = [
            value if self.rules.nodata is None else self.rules.nodata
            for value in dataset.nodatavals
        ]
        authority = crs_of(grid).to_epsg()
        return {
            "type": "Feature",
            "stac_version": "1.1.0",
            "stac_extensions": [],
            "id": self.rules.file.stem,
            "geometry": shapely.geometry.mapping(outline),
            "bbox": [west, south, east, north],
            "properties": {
                "datetime": f"{noon:%Y-%m-%dT%H:%M:%SZ}",
                "proj:code": None if authority is None else f"EPSG:{authority}",
            },
            "links": [],
            "assets": {
                ASSET: {
                    "href": str(self.rules.file.absolute()),
                    "type": "image/tiff; application=geotiff",
                    "roles": ["data"],
                    "bands": [{"name": name} for name in self._band_names(dataset)],
                    "raster:bands": [
                        {"data_type": dtype} | ({} if value is None else {"nodata": _json(value)})
                        for dtype, value in zip(dataset.dtypes, nodata, strict=True)
                    ],
                    "proj:shape": list(grid.shape),
                    "proj:transform": list(grid.affine)[:6],
                }
            },
        }

    def _band_names(self, dataset: DatasetReader) -> tuple[str, ...]:
        names = self.rules.band_names or tuple(name or "" for name in dataset.descriptions)
        where = f"raster {self.rules.file.name}"
        if len(names) != dataset.count:
            raise SourceError(
                f"{where}: imagery.band_names has {len(names)} names {list(names)}, "
                f"and the file has {dataset.count} bands"
            )
        if not all(names) or len(set(names)) < len(names):
            raise SourceError(
                f"{where}: band names must be given and differ, got {list(names)}; "
                f"give {dataset.count} as imagery.band_names"
            )
        return names


def _outline(grid: GeoBox) -> BaseGeometry:
    """The footprint in longitude and latitude, edges densified; cut where it crosses 180°.

    Raises:
        ReadError: If its edges lie off the earth, as those of a full disk do.
    """
    longest = max(abs(grid.boundingbox.span_x), abs(grid.boundingbox.span_y))
    edge = grid.extent.segmented(longest / _FOOTPRINT_POINTS).to_crs("EPSG:4326").exterior.coords
    longitudes, latitudes = np.array(edge).T
    if not np.isfinite([longitudes, latitudes]).all():
        raise ReadError(
            f"the edges of its grid lie off the earth in {crs_of(grid)}; cut or warp it first",
            kind="permanent",
        )
    longitudes = np.unwrap(longitudes, period=360)
    *points, last = zip(longitudes, latitudes, strict=True)
    if abs(longitudes[-1] - longitudes[0]) > 180:  # once around the world, and so around a pole
        pole = math.copysign(90, latitudes.mean())
        points += [last, (longitudes[-1], pole), (longitudes[0], pole)]
    whole = shapely.Polygon(points)
    # Degrees of a geographic raster are not wrapped: pixels at 181° are not read as those at -179°.
    turns = (0,) if crs_of(grid).geographic else (-360, 0, 360)
    copies = [shapely.affinity.translate(whole, turn) for turn in turns]
    return shapely.union_all(shapely.intersection(copies, _WORLD))


def _json(value: float) -> float | str:
    return "nan" if value != value else value  # noqa: PLR0124  # NaN alone differs from itself


def _sha256(file: Path) -> str:
    try:
        facts = file.stat()
    except OSError as error:
        raise SourceError(f"{file}: the raster cannot be read: {error.strerror}") from error
    return _sha256_of(file, facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _sha256_of(file: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  # keys of the cache
    return sha256_of(file)


if TYPE_CHECKING:
    _: type[RasterSource] = LocalRasterSource
