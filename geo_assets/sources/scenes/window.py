"""A window of one raster file: its own pixels, as many as a grid needs, and which of them are data.

rasterio reads. Pixels come on the grid in ``resampling``; where files lie and why a read failed is
in ``asset_files``, what the bands mean in ``reader``.
"""

from __future__ import annotations

import functools
import math
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from affine import AffineError
from odc.geo.geobox import GeoBox
from odc.geo.overlap import compute_reproject_roi
from odc.geo.roi import roi_is_empty
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from geo_assets.core.grids import GridKey, pixel_window
from geo_assets.errors import ReadError
from geo_assets.sources.scenes.lattices import parts_of_pixels, same_lattice
from geo_assets.storage.rasters.tiff_tiles import read_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from rasterio import DatasetReader

_GRIDS: WeakKeyDictionary[DatasetReader, GeoBox] = WeakKeyDictionary()
"""Grids of open files, of which many windows are read."""
_PADDING = 8
"""Source pixels read around a warped window: more than half of the widest kernel (lanczos, 3)."""


class NoData(NamedTuple):
    """What a band means by no-data: the value stated of it, else its file's, else another."""

    stated: float | None = None
    """NaN: no number."""
    otherwise: float | None = None
    """The value where neither is there."""

    def of(self, dataset: DatasetReader, index: int) -> float | None:
        """Return the value of a band of a file; None: none."""
        if self.stated is not None:
            return self.stated
        said: float | None = dataset.nodatavals[index - 1]
        return self.otherwise if said is None else said


@dataclass(frozen=True)
class NativeWindow:
    """Pixels of a file's own grid."""

    data: NDArray[Any]
    """(band, y, x) as in the file."""
    valid: NDArray[np.bool_]
    """(band, y, x), True where there is a datum; or (1, y, x), where all bands have one."""
    geobox: GeoBox
    """The window's grid; the very one that was asked for, if its pixels are these."""
    whole: GeoBox
    """The file's grid."""
    nodata: tuple[float | None, ...]
    """The value by which each band means no-data; None: none."""


class Room:
    """One array for the bands of a scene: files are read into it, so that nothing is copied.

    It is made when the first file tells its dtype.
    """

    def __init__(self, bands: int, geobox: GeoBox) -> None:
        """Make room for bands on a grid."""
        self.pixels: NDArray[Any] | None = None
        self._bands = bands
        self._geobox = geobox
        self._lock = Lock()  # remote files come side by side

    def place(self, first: int, count: int, grid: GeoBox, dtype: Any) -> NDArray[Any] | None:
        """Return where some bands go (band, y, x); None if their pixels or dtype are others.

        Args:
            first: Number of the first of them, from 0.
            count: How many.
            grid: Their pixels; the grid of this room itself, if they are its pixels.
            dtype: Their dtype.
        """
        if grid is not self._geobox:
            return None
        with self._lock:
            if self.pixels is None:
                self.pixels = np.empty((self._bands, *grid.shape), dtype)
        return self.pixels[first : first + count] if self.pixels.dtype == dtype else None


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
    nodata: Sequence[NoData],
    geobox: GeoBox,
    place: Callable[[GeoBox, Any], NDArray[Any] | None] | None = None,
    *,
    nearest: bool = False,
) -> NativeWindow:
    """Return the pixels of a file that a grid needs, without resampling.

    Args:
        dataset: An open raster.
        indexes: Numbers of its bands, from 1.
        nodata: What each band means by no-data.
        geobox: The grid.
        place: Gives the array (band, y, x) to read into, by grid and dtype of what is read; None:
            a new one.
        nearest: Whether each pixel of the grid will be that of the file in which its centre lies:
            then none beside it is needed.

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
        rows, cols, grid = _source_window(GridKey(whole), GridKey(geobox), nearest=nearest)
    window = Window(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
    if grid is None:
        grid = geobox
    dtype = np.result_type(*(dataset.dtypes[index - 1] for index in indexes))
    values = tuple(of.of(dataset, index) for index, of in zip(indexes, nodata, strict=True))
    if 0 in (window.width, window.height):
        shape = (len(indexes), int(window.height), int(window.width))
        return NativeWindow(np.zeros(shape, dtype), np.zeros(shape, bool), grid, whole, values)
    room = None if place is None else place(grid, dtype)
    data = read_pixels(dataset, indexes, window, room)
    masks = [
        _valid(dataset, index, pixels, value, window)
        for index, pixels, value in zip(indexes, data, values, strict=True)
    ]
    valid = masks[0][None] if len(masks) == 1 else np.stack(masks)
    return NativeWindow(data, valid, grid, whole, values)


@functools.lru_cache(maxsize=256)  # the same for all files of a block
def _source_window(
    file: GridKey, wanted: GridKey, *, nearest: bool
) -> tuple[slice, slice, GeoBox | None]:
    """Rows and columns of a file that a grid needs, and their grid; None: it is the one wanted."""
    whole, geobox = file.geobox, wanted.geobox
    if same_lattice(whole, geobox):
        asked = pixel_window(whole, geobox)
        rows, cols = _clip(asked[0], whole.shape.y), _clip(asked[1], whole.shape.x)
        return rows, cols, None if (rows, cols) == asked else whole[rows, cols]
    rows, cols = _off_the_lattice(whole, geobox, nearest=nearest)
    return rows, cols, whole[rows, cols]


def _off_the_lattice(whole: GeoBox, geobox: GeoBox, *, nearest: bool) -> tuple[slice, slice]:
    if nearest and (parts := parts_of_pixels(GridKey(whole), GridKey(geobox))) is not None:
        (_, places_y), (_, places_x) = parts
        return _span(places_y), _span(places_x)
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


def _span(places: NDArray[np.intp]) -> slice:
    """Return the pixels from the first to the last of rising places."""
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _clip(wanted: slice, size: int) -> slice:
    start = min(max(wanted.start, 0), size)
    return slice(start, max(min(wanted.stop, size), start))


def _valid(
    dataset: DatasetReader,
    index: int,
    pixels: NDArray[Any],
    nodata: float | None,
    window: Window,
) -> NDArray[np.bool_]:
    """Where a band holds a datum: not no-data by value, nor masked by the file, and finite."""
    flags = dataset.mask_flag_enums[index - 1]
    if nodata is None or math.isnan(nodata) or not _can_hold(pixels.dtype, nodata):
        valid = np.ones(pixels.shape, bool)
    else:
        valid = pixels != pixels.dtype.type(nodata)
    if MaskFlags.per_dataset in flags:
        valid &= dataset.read_masks(index, window=window) > 0
    if pixels.dtype.kind == "f":
        valid &= np.isfinite(pixels)
    return valid


def _can_hold(dtype: np.dtype[Any], value: float) -> bool:
    """Whether a number is one of a dtype's; a float would turn integers into floats to compare."""
    if dtype.kind not in "ui":
        return True
    return float(value).is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
