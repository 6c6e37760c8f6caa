"""Rasters to be written, and what rasterio reads of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

if TYPE_CHECKING:
    from pathlib import Path


def grid(height: int, width: int) -> GeoBox:
    return GeoBox((height, width), Affine(10, 0, 500_000, 0, -10, 9_100_000), "EPSG:32737")


def composite(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bands of reflectance, a label band in plots of classes 0, 1 and 3, and a mask."""
    random = np.random.default_rng(7)
    bands = random.integers(1, 4000, (2, height, width), dtype=np.uint16)
    plots = random.choice(np.array([0, 1, 3], np.uint16), (height // 5 + 1, width // 5 + 1))
    label = np.kron(plots, np.ones((5, 5), np.uint16))[:height, :width]
    data = np.concatenate([bands, label[None]])
    valid = random.random((height, width)) > 0.2
    data[:, ~valid] = 0
    return data, valid


def overviews_of(path: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    with rasterio.open(path, overview_level=index) as dataset:
        return dataset.read(), dataset.dataset_mask() > 0
