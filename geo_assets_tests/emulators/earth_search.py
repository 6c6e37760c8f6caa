"""Earth Search v1 on the loopback: items of its collection ``sentinel-2-l2a`` in its form.

Items are made of a real one (``stac_json``, collection ``sentinel-2-c1-l2a`` of the same service),
with every property, link and asset that it has; ids, file names and the flag
``earthsearch:boa_offset_applied`` are as that collection has them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from geo_assets_tests.emulators.sentinel_tiles import CELL_M, CLEAR, Tile, refine, write_band

if TYPE_CHECKING:
    import datetime as dt
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

TEMPLATE = "stac_json/earth_search_v1_sentinel-2-c1-l2a_items.json"
COLLECTION = "stac_json/earth_search_v1_sentinel-2-c1-l2a_collection.json"
COLLECTION_ID = "sentinel-2-l2a"


@dataclass(frozen=True)
class Acquisition:
    """One scene of one tile."""

    tile: Tile
    when: dt.datetime
    cloud_cover: float
    baseline: str = "02.13"
    sequence: int = 0
    """Counts how often the service took up a scene."""

    @property
    def name(self) -> str:
        return f"S2A_{self.tile.name}_{self.when:%Y%m%d}_{self.sequence}_L2A"

    @property
    def corrected(self) -> bool:
        """Whether the service has taken the offset of newer products off."""
        return self.baseline >= "04.00"


def scene_item(template: dict[str, Any], scene: Acquisition, host: str) -> dict[str, Any]:
    """Return the item of an acquisition, its files on a host.

    Args:
        template: A real item of the service.
        scene: What was acquired.
        host: URL in place of the service's bucket.
    """
    item = copy.deepcopy(template)
    tile, zone = scene.tile.name, int(scene.tile.name[:2])
    square = {"utm_zone": zone, "latitude_band": tile[2], "grid_square": tile[3:]}
    outline = scene.tile.grid(CELL_M).extent.to_crs("EPSG:4326")
    west, south, east, north = outline.boundingbox.bbox
    item |= {
        "id": scene.name,
        "collection": COLLECTION_ID,
        "geometry": outline.json,
        "bbox": [west, south, east, north],
    }
    stamp = f"{scene.when:%Y%m%dT%H%M%S}"
    code = scene.baseline.replace(".", "")
    item["properties"] |= {
        **{f"mgrs:{part}": value for part, value in square.items()},
        "datetime": scene.when.isoformat().replace("+00:00", "Z"),
        "earthsearch:boa_offset_applied": scene.corrected,
        "eo:cloud_cover": scene.cloud_cover,
        "grid:code": f"MGRS-{tile}",
        "proj:centroid": {"lat": (south + north) / 2, "lon": (west + east) / 2},
        "proj:epsg": scene.tile.epsg,
        "s2:processing_baseline": scene.baseline,
        "s2:product_uri": f"S2A_MSIL2A_{stamp}_N{code}_R022_T{tile}_{stamp}.SAFE",
        "s2:sequence": str(scene.sequence),
    }
    folder = f"{zone}/{tile[2]}/{tile[3:]}/{scene.when:%Y}/{scene.when.month}/{scene.name}"
    for asset in item["assets"].values():
        file = asset["href"].rpartition("/")[2]
        asset["href"] = f"{host}/sentinel-s2-l2a-cogs/{folder}/{file}"
        for checked in ("file:checksum", "file:size"):
            asset.pop(checked, None)
        if "proj:shape" in asset:
            grid = scene.tile.grid(10980 * 10 // asset["proj:shape"][0])
            asset["proj:transform"] = [int(value) for value in grid.affine[:6]]
        for band in asset.get("raster:bands", ()):
            if band.get("offset"):
                band["offset"] = -0.1 if scene.corrected else 0
    root = "https://earth-search.aws.element84.com/v1"
    collection = f"{root}/collections/{COLLECTION_ID}"
    item["links"] = [
        {"rel": "self", "type": "application/geo+json", "href": f"{collection}/items/{item['id']}"},
        *({"rel": rel, "href": collection} for rel in ("parent", "collection")),
        {"rel": "root", "href": root},
    ]
    return item


def collection_record(template: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the collection."""
    return {**template, "id": COLLECTION_ID}


def write_scene(
    folder: Path,
    item: dict[str, Any],
    scene: Acquisition,
    *,
    classes: NDArray[np.uint8],
    cells: GeoBox,
    ndvi: tuple[float, ...],
) -> None:
    """Write red, near infrared and scene classification of an item where its hrefs point.

    Args:
        folder: That the host serves.
        item: The scene's item.
        scene: What was acquired.
        classes: (y, x) class of each pixel of 10 m from 1; 0 has no data.
        cells: Cells of 60 m that the classes cover exactly, in the tile's CRS.
        ndvi: NDVI of each class.
    """
    where = refine(cells, 10)
    red = np.full(classes.shape, 800, np.int64)
    seed = (int(scene.when.timestamp()), scene.sequence)
    red += np.random.default_rng(seed).integers(-8, 9, classes.shape)
    wanted = np.array((0.0, *ndvi))[classes]
    near_infrared = np.rint(red * (1 + wanted) / (1 - wanted)).astype(np.int64)
    there = classes > 0
    for key, numbers in (("red", red), ("nir", near_infrared)):
        pixels = np.where(there, numbers, 0).astype(np.uint16)
        write_band(_path(folder, item, key), scene.tile, pixels, where)
    coarse = np.where(there[::2, ::2], CLEAR, 0).astype(np.uint8)
    write_band(_path(folder, item, "scl"), scene.tile, coarse, refine(cells, 20))


def _path(folder: Path, item: dict[str, Any], key: str) -> Path:
    return folder / urlsplit(item["assets"][key]["href"]).path.lstrip("/")
