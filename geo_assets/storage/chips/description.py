"""What the bytes of a chip file say of their own form, for readers without its campaign."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, cast

import numpy as np
from rasterio.io import MemoryFile

from geo_assets.storage.chips.expectation import ChipExpectation, decoding

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from geo_assets.core.chips import ChipFormat


def described(payload: bytes, suffix: str, geobox: GeoBox) -> ChipExpectation:
    """Return what a chip file must be by its own bands and dtype, on the grid of its row.

    Raises:
        ReadError: (``invalid_payload``) The bytes are no file of the format.
    """
    # Pictures have always three bands of 8 bits.
    bands, dtype = ("red", "green", "blue"), "uint8"
    with decoding(suffix):
        if suffix == "npy":
            array = np.load(io.BytesIO(payload), allow_pickle=False)
            names = array.dtype.names
            bands = names or tuple(map(str, range(len(array))))
            dtype = (array.dtype[0] if names else array.dtype).name
        elif suffix in {"tif", "zip"}:
            geotiff = payload if suffix == "tif" else only_member(payload)
            with MemoryFile(geotiff) as memory, memory.open(driver="GTiff") as raster:
                bands, dtype = raster.descriptions, raster.dtypes[0]
    return ChipExpectation(cast("ChipFormat", suffix), bands, dtype, geobox, label_band=False)


def only_member(payload: bytes) -> bytes:
    """Return the first member of a zip archive that is known to be of our making."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        return archive.read(archive.namelist()[0])
