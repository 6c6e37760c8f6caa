"""What is wrong with the archive, on purpose: one block that cannot be read, one file that is gone.

The damaged file can be repaired (its sound twin lies in ``spare``); the lost one stays lost.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio

from geo_assets.errors import SourceError
from geo_assets.sources.simulated.cogs import BLOCK_SIZE
from geo_assets.storage.atomic import publish, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

    from geo_assets.sources.simulated.acquisitions import Acquisition

SPARE = "spare"
"""Folder of sound twins, laid out as the archive itself."""


def item_href(acquisition: Acquisition, band: str) -> str:
    """Return the path of a band's file below the archive's folder."""
    return f"items/{acquisition.item_id}/{band}.tif"


def damage(folder: Path, acquisition: Acquisition, band: str) -> None:
    """Keep a sound twin of a file and overwrite the block at its upper right corner."""
    href = item_href(acquisition, band)
    path, twin = folder / href, folder / SPARE / href
    twin.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, twin)
    with rasterio.open(path) as file:
        row, column = damaged_block(file.width)
        place = f"{column}_{row}"
        offset = int(file.get_tag_item(f"BLOCK_OFFSET_{place}", "TIFF", bidx=1))
        size = int(file.get_tag_item(f"BLOCK_SIZE_{place}", "TIFF", bidx=1))
    rubbish = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(rubbish)


def damaged_block(width: int) -> tuple[int, int]:
    """Return row and column of the damaged block in a raster of ``width`` pixels."""
    return 0, (width - 1) // BLOCK_SIZE


def faults_record(planned: tuple[Acquisition, ...], tile_size: int) -> list[dict[str, Any]]:
    """Return what is wrong with which asset, for ``truth/faults.json``."""
    row, column = damaged_block(tile_size)
    window = {
        "row_off": row * BLOCK_SIZE,
        "col_off": column * BLOCK_SIZE,
        "height": min(BLOCK_SIZE, tile_size - row * BLOCK_SIZE),
        "width": min(BLOCK_SIZE, tile_size - column * BLOCK_SIZE),
    }
    faults: list[dict[str, Any]] = []
    for item in planned:
        for band in item.damaged_bands:
            fault = {"kind": "damaged block", "window": window, "repairable": True}
            faults.append({"item": item.item_id, "asset": band, **fault})
        for band in item.lost_bands:
            fault = {"kind": "missing file", "repairable": False}
            faults.append({"item": item.item_id, "asset": band, **fault})
        for band in item.absent_bands:
            fault = {"kind": "band not listed", "repairable": False}
            faults.append({"item": item.item_id, "asset": band, **fault})
    return faults


def repair(folder: Path) -> list[str]:
    """Put sound twins in the place of damaged files; return the hrefs of what was repaired.

    Raises:
        SourceError: The folder is no simulated archive.
    """
    if not (folder / "archive.json").is_file():
        raise SourceError(f"{folder}: is no simulated archive (it has no archive.json)")
    repaired: list[str] = []
    for twin in sorted((folder / SPARE).rglob("*.tif")):
        href = twin.relative_to(folder / SPARE).as_posix()
        path = folder / href
        if path.is_file() and sha256_of(path) == sha256_of(twin):
            continue
        with publish(path) as temporary:
            shutil.copyfile(twin, temporary)
        repaired.append(href)
    return repaired
