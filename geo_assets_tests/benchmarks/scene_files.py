"""Scenes of the benchmarks as files: COGs with blocks of 512, and the STAC items that list them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from geo_assets_tests.benchmarks.synthetic import clouds, grid, parcels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

ITEMS = "items.json"
DECODING = "decoding alone (rasterio)"
_MEANS = {
    "B04": (400, 2500, 1800, 1100, 900, 500),
    "B08": (300, 2900, 2600, 2500, 3400, 3900),
}


def write_scenes(
    folder: Path,
    side: int,
    dates: int,
    *,
    compress: str = "deflate",
    classes: bool = True,
    beyond_orbit: float = 0.0,
) -> None:
    """Write ``dates`` scenes of red and near infrared (10 m), and their classes (20 m).

    Args:
        folder: Where to.
        side: Pixels a side; even.
        dates: How many.
        compress: Codec of the files.
        classes: Whether there is a scene classification; its clouds cover 30 %.
        beyond_orbit: Share of a scene that the satellite did not see, as of the many that the edge
            of its orbit cuts: nothing lies left of a slanting line.
    """
    rng = np.random.default_rng(6)
    cover, area = parcels(side, rng), grid(side)
    items = []
    for date in range(dates):
        assets = {}
        missing = clouds(side, 0.1, rng) | _beyond_orbit(side, beyond_orbit)
        for band, means in _MEANS.items():
            image = np.array(means, np.float32)[cover]
            image += np.float32(150) * rng.standard_normal((side, side), np.float32)
            numbers = np.clip(image, 1, 10_000).astype(np.uint16)
            numbers[missing] = 0
            assets[band] = _write(folder / f"{date:03d}-{band}.tif", numbers, area, compress)
        if classes:
            scl = np.full((side // 2, side // 2), 4, np.uint8)
            scl[clouds(side // 2, 0.3, rng)] = 9
            half = area.zoom_out(2)
            assets["SCL"] = _write(folder / f"{date:03d}-SCL.tif", scl, half, compress)
        items.append(_item(date, area, assets))
    (folder / ITEMS).write_text(json.dumps(items))


def read_items(folder: Path) -> list[dict[str, Any]]:
    """Return the items of the scenes in a folder."""
    items: list[dict[str, Any]] = json.loads((folder / ITEMS).read_text())
    return items


def decode(folder: Path, assets: Sequence[str]) -> None:
    """Read every pixel once, block row by block row, and do nothing with it."""
    for item in read_items(folder):
        for asset in assets:
            with rasterio.open(item["assets"][asset]["href"]) as file:
                for row in range(0, file.height, 512):
                    rows = min(row + 512, file.height)
                    file.read(1, window=((row, rows), (0, file.width)))


def _beyond_orbit(side: int, share: float) -> NDArray[np.bool_]:
    """Return what lies left of a line that runs 20° off the columns, as orbits do: (y, x) bool."""
    row, col = np.ogrid[:side, :side]
    edge = side * share + (row - side / 2) * np.tan(np.radians(20))
    return col < edge


def _write(path: Path, data: NDArray[Any], area: GeoBox, compress: str) -> dict[str, Any]:
    with rasterio.open(
        path,
        "w",
        driver="COG",
        count=1,
        height=data.shape[0],
        width=data.shape[1],
        dtype=data.dtype,
        crs=str(area.crs),
        transform=area.affine,
        blocksize=512,
        compress=compress,
        predictor="YES",
        overviews="NONE",
        num_threads="ALL_CPUS",
    ) as file:
        file.write(data, 1)
    return {"href": str(path), "type": "image/tiff; application=geotiff"}


def _item(date: int, area: GeoBox, assets: dict[str, Any]) -> dict[str, Any]:
    # Nine vertices: about as many as items of Sentinel-2 have.
    footprint = area.footprint("EPSG:4326", npoints=2)
    day = np.datetime64("2024-01-01") + np.timedelta64(date * 5, "D")
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2-{date:03d}",
        "collection": "sentinel-2-l2a",
        "geometry": footprint.json,
        "bbox": list(footprint.boundingbox.bbox),
        "properties": {
            "datetime": f"{day}T10:00:00Z",
            "constellation": "sentinel-2",
            "earthsearch:boa_offset_applied": True,
        },
        "links": [],
        "assets": assets,
    }
