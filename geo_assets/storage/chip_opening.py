"""Opening a published chip by its id, whatever its format."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from rasterio.io import MemoryFile

from geo_assets.errors import StorageError
from geo_assets.storage.catalog import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox


def open_chip(catalog: Path, chip_id: str) -> tuple[NDArray[Any], GeoBox]:
    """Return pixels (band, y, x) and grid of one chip of a catalog.

    Raises:
        StorageError: If there is no such chip, it is not ``ok``, or its file is not what was
            published.
    """
    row = next((row for row in read_rows(catalog) if row.spec.chip_id == chip_id), None)
    if row is None:
        raise StorageError(f"{catalog.name}: no chip {chip_id!r}")
    if row.href is None:
        raise StorageError(
            f"{catalog.name}: chip {chip_id!r} is {row.outcome.status}: {row.outcome.error}"
        )
    file = catalog.parent / row.href
    try:
        payload = file.read_bytes()
    except OSError as error:
        raise StorageError(f"{file.name}: cannot be read: {error.strerror}") from error
    if len(payload) != row.outcome.size:
        raise StorageError(
            f"{file.name}: has {len(payload)} bytes instead of {row.outcome.size}; "
            "materialize chip_catalog to restore it"
        )
    return _pixels(payload, file.suffix), row.spec.geobox


def _pixels(payload: bytes, suffix: str) -> NDArray[Any]:
    if suffix == ".npy":
        array: NDArray[Any] = np.load(io.BytesIO(payload), allow_pickle=False)
        return array
    if suffix in {".png", ".jpg"}:
        return np.moveaxis(np.asarray(Image.open(io.BytesIO(payload)).convert("RGB")), -1, 0)
    if suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            payload = archive.read(archive.namelist()[0])
    with MemoryFile(payload) as memory, memory.open(driver="GTiff") as raster:
        bands: NDArray[Any] = raster.read()
        return bands
