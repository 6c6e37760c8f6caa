"""Rasters at the size they are shown: shrinking, enlarging, outlines. Numpy, Pillow's resampling.

Photographs and indices shrink by the mean of their valid cells, labels by their most frequent
value; all are enlarged by repeating cells, so that a cell looks like a cell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geo_assets.errors import GeoAssetsError

Array = NDArray[Any]
Mask = NDArray[np.bool_]

_CELLS_PER_PIXEL = 4
"""Cells kept along each side of a display pixel; more would cost time and change nothing seen."""


def as_bands(data: Array) -> Array:
    """Return data as (band, y, x); a single band may come as (y, x).

    Raises:
        GeoAssetsError: The array has another number of axes.
    """
    if data.ndim == 2:
        return data[np.newaxis]
    if data.ndim != 3:
        raise GeoAssetsError(f"data of shape {data.shape}: (band, y, x) or (y, x) is allowed")
    return data


def validity(data: Array, valid: Mask | None = None) -> Mask:
    """Return where every band of (band, y, x) holds a datum, as (y, x).

    Args:
        data: (band, y, x); NaN and infinity in float data are no data.
        valid: True = datum, (y, x) or (band, y, x); None = nothing else is missing.

    Raises:
        GeoAssetsError: ``valid`` lies on another grid than the data.
    """
    known = np.ones(data.shape[1:], bool)
    if np.issubdtype(data.dtype, np.floating):
        known &= np.isfinite(data).all(axis=0)
    if valid is not None:
        if valid.shape not in (data.shape, data.shape[1:]):
            raise GeoAssetsError(
                f"valid of shape {valid.shape} beside data of shape {data.shape}:"
                f" {data.shape} or {data.shape[1:]} is allowed"
            )
        known &= valid.all(axis=0) if valid.ndim == 3 else valid
    return known


def fitted_shape(shape: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return (rows, columns) of a raster that fills width x height, its aspect ratio kept."""
    rows, columns = max(shape[0], 1), max(shape[1], 1)
    scale = min(width / columns, height / rows)
    return max(1, int(rows * scale)), max(1, int(columns * scale))


def display_shape(shape: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return (rows, columns) like ``fitted_shape``, but enlarge by whole factors only.

    A cell of a small raster so becomes a square of one size everywhere.
    """
    rows, columns = max(shape[0], 1), max(shape[1], 1)
    factor = min(width // columns, height // rows)
    if factor < 1:
        return fitted_shape(shape, width, height)
    return rows * factor, columns * factor


def resample_values(
    data: Array, known: Mask, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], Mask]:
    """Return (band, y, x) at another size: the mean of the valid cells under each pixel.

    A pixel is valid where at least half of the cells under it are; others hold 0.

    Args:
        data: (band, y, x), any number type.
        known: (y, x), True = datum.
        shape: (rows, columns) wanted.
    """
    data, known = _thin(data, shape), _thin(known, shape)
    weight = _box(known.astype(np.float32), shape)
    shown = weight >= 0.5 - 1e-6
    out = np.zeros((data.shape[0], *shape), np.float32)
    for band in range(data.shape[0]):
        total = _box(np.where(known, data[band], 0).astype(np.float32), shape)
        np.divide(total, weight, out=out[band], where=shown)
    return out, shown


def resample_labels(
    labels: Array, shape: tuple[int, int], *, favour_classes: bool = False
) -> NDArray[np.uint8]:
    """Return a uint8 label raster (y, x) at another size: the most frequent value, ties the lower.

    Args:
        labels: (y, x).
        shape: (rows, columns) wanted.
        favour_classes: A pixel with a tenth of its cells in classes is no background, so that
            small polygons stay on the map.
    """
    labels = _thin(labels, shape)
    best = np.zeros(shape, np.float32)
    out = np.zeros(shape, np.uint8)
    for value in np.unique(labels).tolist():
        share = _box((labels == value).astype(np.float32), shape)
        if value == 0 and favour_classes:
            share = np.where(share <= 0.9, np.float32(0), share)
        larger = share > best
        best[larger], out[larger] = share[larger], value
    return out


def outlines(labels: Array) -> tuple[NDArray[Any], Mask, Mask]:
    """Return what draws the outline of every patch of a non-zero label (y, x).

    Returns:
        The labels grown by one pixel into the background, where their rim lies (two pixels thick,
        half inside the patch, half outside), and where a dark line around it keeps it legible.
    """
    from scipy import ndimage

    grown = np.where(labels == 0, ndimage.maximum_filter(labels, 3, mode="nearest"), labels)
    lowest = ndimage.minimum_filter(grown, 5, mode="nearest")
    highest = ndimage.maximum_filter(grown, 5, mode="nearest")
    rim = (lowest != highest) & (grown != 0)
    halo = ndimage.binary_dilation(rim, np.ones((3, 3), bool)) & (grown == 0)
    return grown, rim, halo


def checkerboard(shape: tuple[int, int], cell: int = 6) -> NDArray[np.intp]:
    """Return 0 and 1 in squares of ``cell`` pixels (y, x)."""
    rows, columns = np.indices(shape)
    return (rows // cell + columns // cell) % 2


def _thin(array: Array, shape: tuple[int, int]) -> Array:
    rows = max(1, array.shape[-2] // (_CELLS_PER_PIXEL * shape[0]))
    columns = max(1, array.shape[-1] // (_CELLS_PER_PIXEL * shape[1]))
    return array[..., rows // 2 :: rows, columns // 2 :: columns]


def _box(band: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    if band.shape == shape:
        return band
    image = Image.fromarray(np.ascontiguousarray(band))
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BOX), np.float32)
