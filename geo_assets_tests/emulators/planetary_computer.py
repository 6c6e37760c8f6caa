"""The Planetary Computer on the loopback: items in its form, blobs that want a signature, tokens.

Items are made of a real one (``stac_json``), with every property, link and asset that it has. Their
hrefs are in blob storage, as there, but by http: a client that is told so by ``http_proxy`` finds
them here. Blobs without the token's signature are refused with 403, as the service does.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from geo_assets_tests.emulators.file_server import serve_files
from geo_assets_tests.emulators.sentinel_tiles import (
    CELL_M,
    CLEAR,
    CLOUD,
    Tile,
    land_at,
    refine,
    write_band,
)
from geo_assets_tests.emulators.stac_api import serve_stac_api

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

TEMPLATE = "stac_json/planetary_computer_sentinel-2-l2a_two_items.json"
COLLECTION = "stac_json/planetary_computer_sentinel-2-l2a_collection.json"
HOST = "sentinel2l2a01.blob.core.windows.net"
TOKEN = "sv=2021-06-08&sr=c&sp=rl&sig=loopback-signature"  # noqa: S105  # of an emulator

RESOLUTIONS = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09"),
}


@dataclass(frozen=True)
class Acquisition:
    """One scene of one tile."""

    tile: Tile
    when: dt.datetime
    cloud_cover: float
    baseline: str | None = "03.01"
    """None: the item does not say."""
    offset: int = 0
    """Added to the digital numbers, as products since 04.00 have it."""
    drift: int = 0
    """Added to the land's reflectance, so that dates differ."""


@dataclass(frozen=True)
class PlanetaryComputer:
    """Where the emulated service answers, and what it was asked."""

    api: str
    requests: list[str]
    """Paths of the blobs asked for, with their queries."""
    tokens: list[str]
    """Containers that tokens were asked for."""
    environment: dict[str, str]
    """What a client's process needs in its environment to find it."""


def scene_item(template: dict[str, Any], scene: Acquisition) -> dict[str, Any]:
    """Return the item of an acquisition: the template with all its names, times and grids changed.

    Args:
        template: A real item of the service.
        scene: What was acquired.
    """
    old = template["properties"]
    old_tile, old_stamp = old["s2:mgrs_tile"], template["id"].split("_")[2]
    new_stamp = f"{scene.when:%Y%m%dT%H%M%S}"
    old_baseline, baseline = old["s2:processing_baseline"], scene.baseline or "03.01"
    text = json.dumps(template)
    for before, after in (
        (f"https://{HOST}", f"http://{HOST}"),
        (old_tile, scene.tile.name),
        (_folders(old_tile), _folders(scene.tile.name)),
        (f"{old_stamp[:4]}/{old_stamp[4:6]}/{old_stamp[6:8]}", f"{scene.when:%Y/%m/%d}"),
        (old_stamp, new_stamp),
        (old_stamp[:8], new_stamp[:8]),
        (f"N{old_baseline}", f"N{baseline}"),
        (f"N{old_baseline.replace('.', '')}", f"N{baseline.replace('.', '')}"),
    ):
        text = text.replace(before, after)
    item: dict[str, Any] = json.loads(text)
    outline = scene.tile.grid(CELL_M).extent.to_crs("EPSG:4326")
    item |= {"geometry": outline.json, "bbox": list(outline.boundingbox.bbox)}
    item["properties"] |= {
        "datetime": scene.when.isoformat().replace("+00:00", "Z"),
        "eo:cloud_cover": scene.cloud_cover,
        "proj:epsg": scene.tile.epsg,
        "s2:processing_baseline": baseline,
    }
    if scene.baseline is None:
        del item["properties"]["s2:processing_baseline"]
    for asset in item["assets"].values():
        if "proj:shape" in asset:
            grid = scene.tile.grid(10980 * 10 // asset["proj:shape"][0])
            asset["proj:transform"] = list(grid.affine)[:6]
            asset["proj:bbox"] = list(grid.boundingbox.bbox)
    return item


def _folders(tile: str) -> str:
    return f"{int(tile[:2])}/{tile[2]}/{tile[3:]}"


def write_scene(
    folder: Path,
    item: dict[str, Any],
    scene: Acquisition,
    *,
    land: NDArray[np.uint8],
    cells: GeoBox,
    spectra: NDArray[np.int64],
    clouds: NDArray[np.bool_] | None = None,
) -> None:
    """Write the twelve bands and the scene classification of an item where its hrefs point.

    Args:
        folder: Of the blobs.
        item: The scene's item.
        scene: What was acquired.
        land: (y, x) class of each cell, from 1.
        cells: Where the cells lie, in the tile's CRS.
        spectra: (class, band) digital numbers, bands in the order of ``RESOLUTIONS``.
        clouds: (y, x) of the cells, True where the scene classification says cloud.
    """
    bands = [band for names in RESOLUTIONS.values() for band in names]
    for resolution, names in RESOLUTIONS.items():
        where = refine(cells, resolution)
        classes = land_at(land, cells, where)
        seed = (int(scene.when.timestamp()), resolution)
        noise = np.random.default_rng(seed).integers(-15, 16, (len(names), *where.shape))
        for band, speckle in zip(names, noise, strict=True):
            numbers = spectra[classes - 1, bands.index(band)] + speckle
            numbers += scene.drift + scene.offset
            pixels = numbers.astype(np.uint16)
            write_band(_path(folder, item, band), scene.tile, pixels, where)
    where = refine(cells, 20)
    covered = np.zeros(land.shape, bool) if clouds is None else clouds
    classification = np.where(np.kron(covered, np.ones((3, 3), bool)), CLOUD, CLEAR)
    write_band(_path(folder, item, "SCL"), scene.tile, classification.astype(np.uint8), where)


def _path(folder: Path, item: dict[str, Any], key: str) -> Path:
    return folder / urlsplit(item["assets"][key]["href"]).path.lstrip("/")


@contextmanager
def serve_planetary_computer(
    items: Sequence[dict[str, Any]], collection: dict[str, Any], blobs: Path, folder: Path
) -> Iterator[PlanetaryComputer]:
    """Serve items, blobs and tokens on the loopback while the context lasts.

    Args:
        items: In the service's form.
        collection: Of the items.
        blobs: Folder of the rasters, below it paths as in blob storage.
        folder: For the servers' own files.
    """
    expiry = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    container = folder / "tokens" / HOST.partition(".")[0] / "sentinel2-l2"
    container.parent.mkdir(parents=True, exist_ok=True)
    container.write_text(json.dumps({"msft:expiry": expiry, "token": TOKEN}))
    with (
        serve_stac_api(items, folder / "api", [collection]) as api,
        serve_files(blobs) as store,
        serve_files(folder / "tokens") as tokens,
    ):
        store.key, store.key_name = TOKEN.rpartition("sig=")[2], "sig"
        yield PlanetaryComputer(
            api,
            store.requests,
            tokens.requests,
            {
                "PC_SDK_SAS_URL": tokens.url,
                "HOME": str(folder),
                "http_proxy": store.url,
                "no_proxy": ",".join(filter(None, ("127.0.0.1", os.environ.get("no_proxy")))),
            },
        )
