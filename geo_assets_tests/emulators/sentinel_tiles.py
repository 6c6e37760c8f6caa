"""Sentinel-2 tiles with made-up pixels, as files that a service's items can point at.

A tile's rasters have its true grids (109.8 km, pixels of 10, 20 and 60 m); only the blocks that
meet the place of a test are written, so that a tile costs kilobytes. The land is cells of 60 m,
each of one class: bands of every resolution show the same truth. How services describe scenes is
in ``earth_search`` and ``planetary_computer``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.warp import Resampling, reproject
from rasterio.windows import Window

from geo_assets.core.grids import pixel_window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIZE_M = 109_800
CELL_M = 60
CELLS_OF_A_PARCEL = 4

ORIGINS = {
    "18TWR": (32618, 499_980, 5_100_000),
    "33UUU": (32633, 300_000, 5_900_040),
    "32UQD": (32632, 699_960, 5_900_040),
}
"""EPSG code and upper left corner of each tile."""

CLEAR, CLOUD = 4, 9
"""Classes of the scene classification: vegetation, cloud of high probability."""


@dataclass(frozen=True)
class Tile:
    """A tile of the Sentinel-2 grid by its MGRS name."""

    name: str

    @property
    def epsg(self) -> int:
        return ORIGINS[self.name][0]

    def grid(self, resolution: int) -> GeoBox:
        """Return the pixels of a resolution."""
        _, x, y = ORIGINS[self.name]
        affine = Affine(resolution, 0, x, 0, -resolution, y)
        return GeoBox((SIZE_M // resolution,) * 2, affine, f"EPSG:{self.epsg}")

    def window(self, bounds: tuple[float, float, float, float]) -> GeoBox:
        """Return the cells of 60 m that cover bounds in the tile's CRS, and some around them."""
        _, x, y = ORIGINS[self.name]
        west, south, east, north = bounds
        left, top = (int((west - x) // CELL_M) - 3, int((y - north) // CELL_M) - 3)
        right, bottom = (int((east - x) // CELL_M) + 4, int((y - south) // CELL_M) + 4)
        return self.grid(CELL_M)[top:bottom, left:right]


def parcels(shape: tuple[int, int], classes: int, seed: int) -> NDArray[np.uint8]:
    """Return (y, x) classes from 1 in square parcels, as many pixels of each as of the others."""
    rows, cols = (-(-size // CELLS_OF_A_PARCEL) for size in shape)
    land = np.resize(np.arange(classes, dtype=np.uint8) + 1, rows * cols)
    land = np.random.default_rng(seed).permutation(land).reshape(rows, cols)
    cell = np.ones((CELLS_OF_A_PARCEL,) * 2, np.uint8)
    return np.kron(land, cell)[: shape[0], : shape[1]]


def land_at(land: NDArray[np.uint8], cells: GeoBox, grid: GeoBox) -> NDArray[np.uint8]:
    """Return the class at the centre of each pixel of a grid, in any CRS; 0 where there is none."""
    found = np.zeros(grid.shape, np.uint8)
    reproject(
        land,
        found,
        src_transform=cells.affine,
        src_crs=str(cells.crs),
        dst_transform=grid.affine,
        dst_crs=str(grid.crs),
        resampling=Resampling.nearest,
        src_nodata=0,
        dst_nodata=0,
    )
    return found


def write_band(path: Path, tile: Tile, pixels: NDArray[Any], where: GeoBox) -> None:
    """Write a raster of a whole tile that holds pixels at one place and no data elsewhere."""
    grid = tile.grid(int(where.resolution.x))
    rows, cols = pixel_window(grid, where)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=grid.shape.y,
        width=grid.shape.x,
        count=1,
        dtype=pixels.dtype,
        crs=str(grid.crs),
        transform=grid.affine,
        nodata=0,
        tiled=True,
        blockxsize=512,
        blockysize=512,
        compress="deflate",
        sparse_ok=True,
    ) as file:
        place = Window(cols.start, rows.start, pixels.shape[1], pixels.shape[0])
        file.write(pixels, 1, window=place)


def refine(cells: GeoBox, resolution: int) -> GeoBox:
    """Return the pixels of a resolution that cover a window of cells exactly."""
    finer = CELL_M // resolution
    return GeoBox(
        (cells.shape.y * finer, cells.shape.x * finer),
        cells.affine @ Affine.scale(1 / finer),
        cells.crs,
    )
