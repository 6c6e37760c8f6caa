"""Pixels of a window on another grid: moved, repeated or warped, whatever their places ask for.

GDAL warps; here is only how it is asked. A window of an area must give the pixels that the area
gives, for failed windows are read again alone. GDAL's defaults do not: an approximate transformer
(0.125 pixels) and kernels scaled to the window made 0.4 to 0.7 % of nearest and 95 % of bilinear
pixels of another UTM zone depend on the window (odc-stac's reader inherits both). Hence the exact
transformer, the scale of the whole raster and no overviews. What is left: where a sum of integers
lies at a half, its float noise depends on the window, and the pixel by 1 (not with ``nearest``).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geo_assets.core.grids import GridKey, crs_of, pixel_window
from geo_assets.sources.scenes.lattices import parts_of_pixels, same_lattice, same_place

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.crs import CRS
    from odc.geo.geobox import GeoBox

    from geo_assets.sources.scenes.window import NativeWindow

EXACT = 1e-9
"""Pixels by which GDAL's transformer may be wrong: none, but 0 is refused."""


def on_grid(
    window: NativeWindow, geobox: GeoBox, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return data (band, y, x) and valid (y, x), all bands valid, on a grid.

    On the window's own lattice pixels come unchanged, no-data values included; beyond the window
    they are 0. Otherwise invalid pixels take no part in resampling.
    """
    valid: NDArray[np.bool_] = window.valid[0]
    if len(window.valid) > 1:
        valid = np.logical_and.reduce(window.valid, axis=0)
    if window.geobox is geobox or same_place(window.geobox, geobox):
        return window.data, valid
    data_out = np.zeros((len(window.data), *geobox.shape), window.data.dtype)
    valid_out = np.zeros(geobox.shape, bool)
    if 0 in window.geobox.shape:
        return data_out, valid_out
    here, there = GridKey(geobox), GridKey(window.geobox)
    moved = _moved(there, here)
    if moved is not None:
        rows, cols = moved
        data_out[:, rows, cols] = window.data
        valid_out[rows, cols] = valid
        return data_out, valid_out
    parts = parts_of_pixels(there, here) if resampling == "nearest" else None
    if parts is not None:
        # Each pixel lies within one of the file: what GDAL would find, without its transformer.
        from geo_assets.core.kernels.nearest import lay_coarse

        (rows, rows_there), (cols, cols_there) = parts
        laid = np.empty((len(rows_there), len(cols_there)), window.data.dtype)
        for band_out, band in zip(data_out, window.data, strict=True):
            lay_coarse(np.ascontiguousarray(band), rows_there, cols_there, laid)
            band_out[rows, cols] = laid
        known = np.empty(laid.shape, bool)
        lay_coarse(np.ascontiguousarray(valid), rows_there, cols_there, known)
        valid_out[rows, cols] = known
        return data_out, valid_out
    warped = _warp(window, valid, geobox, resampling)
    return warped[:-1], warped[-1] > 0


@functools.lru_cache(maxsize=256)  # the same for all files of a block
def _moved(there: GridKey, here: GridKey) -> tuple[slice, slice] | None:
    """Rows and columns of a grid that a window of its lattice fills; None: of another lattice."""
    if not same_lattice(there.geobox, here.geobox):
        return None
    return pixel_window(here.geobox, there.geobox)


def _warp(
    window: NativeWindow, valid: NDArray[np.bool_], geobox: GeoBox, resampling: str
) -> NDArray[Any]:
    """Warp all bands and their validity, as alpha band, in one go (band + 1, y, x)."""
    count, (rows, cols) = len(window.data) + 1, window.geobox.shape
    scale_x, scale_y = _scale(window.whole, geobox)
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=count,
            height=rows,
            width=cols,
            dtype=window.data.dtype,
            crs=str(window.geobox.crs),
            transform=window.geobox.affine,
        ) as file:
            file.write(window.data, list(range(1, count)))
            file.write(valid.astype(window.data.dtype), count)
        with (
            memory.open() as file,
            WarpedVRT(
                file,
                crs=str(geobox.crs),
                transform=geobox.affine,
                width=geobox.shape.x,
                height=geobox.shape.y,
                resampling=Resampling[resampling],
                src_alpha=count,
                tolerance=EXACT,
                SRC_ALPHA_MAX="1",
                DST_ALPHA_MAX="1",
                XSCALE=f"{scale_x:.12g}",
                YSCALE=f"{scale_y:.12g}",
            ) as warped,
        ):
            pixels: NDArray[Any] = warped.read()
    return pixels


def _scale(whole: GeoBox, geobox: GeoBox) -> tuple[float, float]:
    """Pixels of the grid to one of the file, for the whole file whatever window is read."""
    width, height = _pixel_in(whole, crs_of(geobox))
    return abs(width / geobox.resolution.x), abs(height / geobox.resolution.y)


@functools.lru_cache(maxsize=256)  # the same for all scenes of a tile, and milliseconds each
def _pixel_in(whole: GeoBox, crs: CRS) -> tuple[float, float]:
    """Width and height of a file's pixels in the units of another CRS."""
    there = whole if whole.crs == crs else whole.to_crs(crs)
    return there.resolution.x, there.resolution.y
