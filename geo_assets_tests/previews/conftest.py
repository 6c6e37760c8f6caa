"""Scenes that the pictures are drawn from."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from geo_assets.previews.palette import class_table
from geo_assets.previews.png import MAX_BYTES


@pytest.fixture(scope="session")
def opened():
    """Decode a preview after checking what holds for all of them."""

    def decode(png: bytes, max_bytes: int = MAX_BYTES) -> np.ndarray:
        assert png.startswith(b"\x89PNG")
        assert len(png) <= max_bytes
        image = Image.open(io.BytesIO(png))
        image.load()
        assert image.mode == "P"
        return np.asarray(image.convert("RGB"))

    return decode


@pytest.fixture(scope="session")
def classes():
    """Two classes in the house colours."""
    return class_table(["water", "wood"])


@pytest.fixture(scope="session")
def aberystwyth(real_data):
    """Ten real bands (band, y, x) and the real class map (y, x) of the same grid."""
    rasterio = pytest.importorskip("rasterio")
    folder = real_data / "s2_aberystwyth"
    with rasterio.open(folder / "s2_aber_20210527_10band.tif") as source:
        data = source.read()
    with rasterio.open(folder / "landcover_aber_4class.tif") as source:
        return data, source.read(1)
