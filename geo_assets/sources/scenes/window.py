"""Pixels of one raster file on one grid: its own pixels, or warped ones where the grid is another.

rasterio reads, GDAL warps; here is only how they are asked. Where files lie and why a read failed
is in ``asset_files``, what the bands mean in ``reader``.

A window of an area must give the pixels that the area gives, for failed windows are read again
alone. GDAL's defaults do not: an approximate transformer (0.125 pixels) and kernels scaled to the
window made 0.4 to 0.7 % of nearest and 95 % of bilinear pixels of another UTM zone depend on the
window (odc-stac's reader inherits both). Hence the exact transformer, the scale of the whole
raster and no overviews.
"""

from __future__ import annotations

import functools
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from affine import AffineError
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_is_empty
from rasterio.enums import MaskFlags, Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geo_assets.core.grids import Lattice, crs_of, lattice_position, pixel_window
from geo_assets.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from odc.geo.crs import CRS
    from rasterio import DatasetReader

EXACT = 1e-9
"""Pixels by which GDAL's transformer may be wrong: none, but 0 is refused."""
_GRIDS: WeakKeyDictionary[DatasetReader, GeoBox] = WeakKeyDictionary()
"""Grids of open files, of which many windows are read."""
_Axis = tuple[slice, NDArray[np.intp]]
_PADDING = 8
"""Source pixels read around a warped window: more than half of the widest kernel (lanczos, 3)."""


@dataclass(frozen=True)
class NativeWindow:
    """Pixels of a file's own grid."""

    data: NDArray[Any]
    """(band, y, x) as in the file."""
    valid: NDArray[np.bool_]
    """(band, y, x), True where there is a datum."""
    geobox: GeoBox
    """The window's grid."""
    whole: GeoBox
    """The file's grid."""


def native_grid(dataset: DatasetReader) -> GeoBox:
    """Return the grid of an open raster.

    Raises:
        ReadError: If it has no CRS (permanent), or nonsense (invalid_payload).
    """
    with _georeference():
        crs = dataset.crs
    if not crs:
        raise ReadError(
            "it has no CRS, so that its pixels have no place on the ground; "
            "georeference it first (gdal_edit -a_srs EPSG:…)",
            kind="permanent",
        )
    with _georeference():
        return GeoBox.from_rio(dataset)


@contextmanager
def _georeference() -> Iterator[None]:
    """Turn what PROJ, affine and numpy raise on a nonsense CRS or transform into a ReadError."""
    try:
        yield
    except (ArithmeticError, ValueError, RuntimeError, AffineError) as error:
        raise ReadError(
            f"its CRS or transform makes no sense: {type(error).__name__}: {error}",
            kind="invalid_payload",
        ) from error


def read_native(
    dataset: DatasetReader,
    indexes: Sequence[int],
    nodata: Sequence[float | None],
    geobox: GeoBox,
) -> NativeWindow:
    """Return the pixels of a file that a grid needs, without resampling.

    Args:
        dataset: An open raster.
        indexes: Numbers of its bands, from 1.
        nodata: What each band means by no-data; None: what the file says.
        geobox: The grid.

    Raises:
        ReadError: If the file lacks a band or a CRS (permanent), or its georeference is nonsense
            (invalid_payload).
    """
    if max(indexes) > dataset.count:
        raise ReadError(
            f"band {max(indexes)} is wanted and the file has {dataset.count}", kind="permanent"
        )
    whole = _GRIDS.get(dataset)
    if whole is None:
        whole = _GRIDS[dataset] = native_grid(dataset)
    with _georeference():
        rows, cols = _source_window(whole, geobox)
    window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
    if 0 in (window.width, window.height):
        shape = (len(indexes), int(window.height), int(window.width))
        data = np.zeros(shape, np.result_type(*(dataset.dtypes[i - 1] for i in indexes)))
        return NativeWindow(data, np.zeros(shape, bool), whole[rows, cols], whole)
    data = dataset.read(list(indexes), window=window)
    valid = np.stack(
        [
            _valid(dataset, index, pixels, value, window)
            for index, pixels, value in zip(indexes, data, nodata, strict=True)
        ]
    )
    return NativeWindow(data, valid, whole[rows, cols], whole)


def on_grid(
    window: NativeWindow, geobox: GeoBox, resampling: str
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return data (band, y, x) and valid (y, x), all bands valid, on a grid.

    On the window's own lattice pixels come unchanged, no-data values included; beyond the window
    they are 0. Otherwise invalid pixels take no part in resampling.
    """
    valid: NDArray[np.bool_] = np.logical_and.reduce(window.valid, axis=0)
    if window.geobox.shape == geobox.shape and _same_place(window.geobox, geobox):
        return window.data, valid
    data_out = np.zeros((len(window.data), *geobox.shape), window.data.dtype)
    valid_out = np.zeros(geobox.shape, bool)
    if 0 in window.geobox.shape:
        return data_out, valid_out
    if _same_lattice(window.geobox, geobox):
        rows, cols = pixel_window(geobox, window.geobox)
        data_out[:, rows, cols] = window.data
        valid_out[rows, cols] = valid
        return data_out, valid_out
    parts = _parts_of_pixels(window.geobox, geobox) if resampling == "nearest" else None
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
def _source_window(whole: GeoBox, geobox: GeoBox) -> tuple[slice, slice]:
    """Rows and columns of a file that a grid needs, within the file."""
    if _same_lattice(whole, geobox):
        wanted = pixel_window(whole, geobox)
        return (_clip(wanted[0], whole.shape.y), _clip(wanted[1], whole.shape.x))
    overlap = compute_reproject_roi(whole, geobox, padding=_PADDING)
    if roi_is_empty(overlap.roi_src):
        return slice(0, 0), slice(0, 0)
    # A kernel grows with the shrinking, so its padding does.
    more = math.ceil(_PADDING * max(overlap.scale, 1.0))
    rows, cols = overlap.roi_src
    return (
        _clip(slice(rows.start - more, rows.stop + more), whole.shape.y),
        _clip(slice(cols.start - more, cols.stop + more), whole.shape.x),
    )


@functools.lru_cache(maxsize=256)
def _parts_of_pixels(coarse: GeoBox, fine: GeoBox) -> tuple[_Axis, _Axis] | None:
    """Where the pixels of a fine grid lie in those of a coarse one, by rows and by columns.

    None if they do not lie whole within them: another CRS, or edges that do not meet.
    """
    if not (coarse.axis_aligned and fine.axis_aligned and crs_of(coarse) == crs_of(fine)):
        return None
    there, here = Lattice.of(coarse), Lattice.of(fine)
    first, first_there = here.position(fine), there.position(coarse)
    rows = _axis_parts(
        (there.pixel_y / here.pixel_y, there.phase_y, here.phase_y),
        (first_there[0], coarse.shape.y),
        (first[0], fine.shape.y),
    )
    cols = _axis_parts(
        (there.pixel_x / here.pixel_x, there.phase_x, here.phase_x),
        (first_there[1], coarse.shape.x),
        (first[1], fine.shape.x),
    )
    return None if rows is None or cols is None else (rows, cols)


def _axis_parts(
    scales: tuple[float, float, float], there: tuple[int, int], here: tuple[int, int]
) -> _Axis | None:
    """Return which pixels of the fine axis lie in the coarse one, and in which pixel each does.

    Args:
        scales: Fine pixels to a coarse one, and the phases of the coarse and the fine lattice.
        there: First pixel of the coarse axis on its lattice, and their number.
        here: The same of the fine axis.
    """
    times, phase_there, phase_here = scales
    whole = round(times)
    shift = phase_there * whole - phase_here
    if whole < 1 or times != whole or shift != round(shift):
        return None
    places = (np.arange(here[0], here[0] + here[1]) - round(shift)) // whole - there[0]
    inside = np.flatnonzero((places >= 0) & (places < there[1]))
    if not len(inside):
        return slice(0, 0), inside
    return slice(int(inside[0]), int(inside[-1]) + 1), places[inside]


def _clip(wanted: slice, size: int) -> slice:
    start = min(max(wanted.start, 0), size)
    return slice(start, max(min(wanted.stop, size), start))


def _same_place(one: GeoBox, other: GeoBox) -> bool:
    """Whether two grids of one shape have the same pixels."""
    if not _same_lattice(one, other):
        return False
    return lattice_position(one) == lattice_position(other)


@functools.lru_cache(maxsize=256)
def _same_lattice(one: GeoBox, other: GeoBox) -> bool:
    if not (one.axis_aligned and other.axis_aligned):
        return False
    return Lattice.of(one) == Lattice.of(other)


def _valid(
    dataset: DatasetReader,
    index: int,
    pixels: NDArray[Any],
    nodata: float | None,
    window: Window,
) -> NDArray[np.bool_]:
    """Where a band holds a datum: not no-data by value, nor masked by the file."""
    flags = dataset.mask_flag_enums[index - 1]
    value = dataset.nodatavals[index - 1] if nodata is None else nodata
    if value is None or math.isnan(value) or not _can_hold(pixels.dtype, value):
        valid = np.ones(pixels.shape, bool)
    else:
        valid = pixels != pixels.dtype.type(value)
    if MaskFlags.per_dataset in flags:
        valid &= dataset.read_masks(index, window=window) > 0
    if pixels.dtype.kind == "f":
        valid &= ~np.isnan(pixels)
    return valid


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a number is one of a dtype's; a float would turn integers into floats to compare."""
    if dtype.kind not in "ui":
        return True
    return float(value).is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


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
