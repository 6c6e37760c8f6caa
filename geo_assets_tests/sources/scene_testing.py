"""Small scenes for tests: GeoTIFFs of random numbers, and the STAC item that lists them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import point

from geo_assets.core.areas import ClusterBox
from geo_assets.sources.protocol import SceneQuery

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

GRID = GeoBox((120, 130), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32633")


def write_raster(path: Path, data: NDArray[Any], grid: GeoBox, **profile: Any) -> NDArray[Any]:
    """Write (band, y, x) as a tiled GeoTIFF and give the array back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"} | profile
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=len(data),
        height=data.shape[1],
        width=data.shape[2],
        dtype=data.dtype,
        crs=str(grid.crs) if grid.crs else None,
        transform=grid.affine,
        **options,
    ) as file:
        file.write(data)
    return data


def noise(grid: GeoBox, seed: int, dtype: str = "uint16", low: int = 1, high: int = 5000) -> Any:
    """Give (1, y, x) random numbers."""
    if dtype == "uint8":
        high = min(high, 200)
    return np.random.default_rng(seed).integers(low, high, (1, *grid.shape)).astype(dtype)


def item_of(
    assets: dict[str, dict[str, Any]], grid: GeoBox = GRID, **properties: Any
) -> dict[str, Any]:
    """Give an item whose footprint is a grid."""
    outline = grid.extent.to_crs("EPSG:4326")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": properties.pop("id", "scene-1"),
        "collection": properties.pop("collection", "tests"),
        "geometry": outline.json,
        "bbox": list(outline.boundingbox.bbox),
        "properties": {"datetime": "2021-06-01T10:00:00Z", **properties},
        "links": [],
        "assets": assets,
    }


def query(
    bands: tuple[str, ...] = ("B04",),
    *,
    box: ClusterBox | None = None,
    start: str = "2021-01-01",
    end: str = "2021-12-31",
    max_cloud: float = 100.0,
) -> SceneQuery:
    """Ask for scenes of the middle of GRID."""
    return SceneQuery(
        box or ClusterBox(0, "EPSG:32633", (500_300, 5_399_000, 500_600, 5_399_400), 1),
        dt.date.fromisoformat(start),
        dt.date.fromisoformat(end),
        bands,
        max_cloud,
    )


def box_around(lon: float, lat: float, metres: float = 500, crs: str = "EPSG:32613") -> ClusterBox:
    """Give a square box around a place."""
    ((x, y),) = point(lon, lat, "EPSG:4326").to_crs(crs).coords
    return ClusterBox(0, crs, (x - metres, y - metres, x + metres, y + metres), 1)
