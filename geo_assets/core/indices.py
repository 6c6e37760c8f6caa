"""Spectral indices of reflectance bands, and their quantisation to int16.

Formulas come from ``index_catalogue``. Bands are known here by their STAC common names; which file
holds them, and how its digital numbers become reflectance, is a source's knowledge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.index_catalogue import find_index
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

NDVI_SCALE = 1e-4
"""Units of an index per quantisation step."""

MISSING = -32768
"""Quantised value of pixels without datum."""

_STEPS_PER_UNIT = 10_000
_LARGEST = 3.2767


def normalized_difference(
    a: NDArray[Any],
    b: NDArray[Any],
    valid: NDArray[np.bool_] | None = None,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Return (a - b) / (a + b), missing where it means nothing.

    Missing (NaN) is a pixel that is not valid, where a + b <= 0, or where the absolute value
    exceeds 1 (one of the bands is negative, which no reflectance is). Integers are widened before
    the subtraction, so that unsigned bands cannot wrap.

    Args:
        a: Reflectance of the first band (near infrared for NDVI), any shape, integer or float.
        b: Reflectance of the second (red for NDVI), in the same unit and shape.
        valid: True where both hold a datum; None: everywhere but at NaN.
        dtype: float64, or float32 (half the memory; a quantised value can then differ by one step
            from that of float64 where the index lies within 1e-7 of a half step).

    Returns:
        Index from -1 to 1 in ``dtype``, NaN where missing.

    Raises:
        GeoAssetsError: If the shapes differ.
    """
    if a.shape != b.shape or (valid is not None and valid.shape != a.shape):
        msg = f"shapes: {a.shape}, {b.shape}, valid {None if valid is None else valid.shape} differ"
        raise GeoAssetsError(msg)
    wide = np.dtype(dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = np.add(a, b, dtype=wide)
        index: NDArray[Any] = np.subtract(a, b, dtype=wide)
        index /= total
        known = (total > 0) & (np.abs(index) <= 1)
    if valid is not None:
        known &= valid
    index[~known] = np.nan
    return index


def compute_index(
    name: str,
    bands: Mapping[str, NDArray[Any]],
    valid: NDArray[np.bool_] | None = None,
    dtype: DTypeLike = np.float64,
) -> NDArray[Any]:
    """Return an index of the catalogue by name, from bands by common name.

    Indices of the form (a - b) / (a + b) are those of ``normalized_difference``, missing values
    included. Any other formula is computed in float64 and is missing (NaN) where it is not finite.

    Args:
        name: Name in the catalogue, in any letters that tell it apart.
        bands: Common name -> reflectance, all of one shape. In units (0 to 1) where the formula
            holds constants; any unit serves an index that is ``scale_free``.
        valid: True where every band holds a datum; None: everywhere but at NaN.
        dtype: Of the result.

    Raises:
        GeoAssetsError: If the index is unknown, one of its bands is not there, or shapes differ.
    """
    index = find_index(name)
    absent = [band for band in index.bands.values() if band not in bands]
    if absent:
        msg = f"index {name!r}: needs the bands {absent}; there are {sorted(bands)}"
        raise GeoAssetsError(msg)
    if index.difference is not None:
        first, second = (bands[index.bands[letter]] for letter in index.difference)
        return normalized_difference(first, second, valid, dtype)
    given = {letter: bands[band].astype(np.float64) for letter, band in index.bands.items()}
    shapes = {array.shape for array in given.values()} | (
        {valid.shape} if valid is not None else set()
    )
    if len(shapes) > 1:
        msg = f"index {name!r}: shapes {sorted(shapes)} of bands and validity differ"
        raise GeoAssetsError(msg)
    with np.errstate(all="ignore"):
        values: NDArray[Any] = np.asarray(index.evaluate(given), np.float64)
    known = np.isfinite(values)
    if valid is not None:
        known &= valid
    return np.where(known, values, np.nan).astype(dtype)


def quantise_index(index: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Return an index as int16 in steps of 1e-4, rounded half to even; -32768 where it is NaN.

    Raises:
        GeoAssetsError: If a value lies outside -3.2767 to 3.2767, which int16 cannot hold.
    """
    steps: NDArray[np.float64] = np.multiply(index, _STEPS_PER_UNIT, dtype=np.float64)
    np.rint(steps, out=steps)
    missing = np.isnan(steps)
    steps[missing] = MISSING
    outside = (np.abs(steps) > np.iinfo(np.int16).max) & ~missing
    if outside.any():
        value = float(index[outside].flat[0])
        msg = f"index: {value} cannot be quantised; allowed: -3.2767 to 3.2767, or NaN"
        raise GeoAssetsError(msg)
    return steps.astype(np.int16)


def quantise_in_range(index: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int16], int]:
    """Return an index as ``quantise_index``, missing beyond int16, and how many were.

    Of some indices (ratios) single pixels leave -3.2767 to 3.2767: no reason to give up a date.
    """
    with np.errstate(invalid="ignore"):
        outside = np.abs(index) > _LARGEST
    count = int(np.count_nonzero(outside))
    if count:
        index = np.where(outside, np.nan, index)
    return quantise_index(index), count


def dequantise_index(values: NDArray[np.int16], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return the index of quantised values (int16, any shape) in ``dtype``, NaN where missing."""
    from geo_assets.core.kernels.ndvi import units_of_steps

    # Rounded once: for all of int16 the same as through float64 (a test compares).
    kind = np.dtype(dtype)
    units: NDArray[Any] = np.empty(values.shape, kind)
    flat = np.ascontiguousarray(values).reshape(-1)
    units_of_steps(flat, kind.type(_STEPS_PER_UNIT), MISSING, units.reshape(-1))
    return units
