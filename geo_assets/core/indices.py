"""Normalised-difference indices of reflectance bands, and their quantisation to int16.

Bands are known here by their STAC common names; which file holds them is a source's knowledge.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

NDVI_SCALE = 1e-4
"""Units of an index per quantisation step."""

MISSING = -32768
"""Quantised value of pixels without datum."""

_STEPS_PER_UNIT = 10_000

INDICES: Mapping[str, tuple[str, str]] = {
    "ndvi": ("nir", "red"),  # Rouse et al. 1974: vegetation
    "gndvi": ("nir", "green"),  # Gitelson et al. 1996: chlorophyll
    "ndwi": ("green", "nir"),  # McFeeters 1996: open water
    "mndwi": ("green", "swir16"),  # Xu 2006: open water beside buildings
    "ndmi": ("nir", "swir16"),  # Gao 1996, as used by USGS: moisture of vegetation
    "ndbi": ("swir16", "nir"),  # Zha et al. 2003: built-up land
    "nbr": ("nir", "swir22"),  # Key and Benson 2006: burned land
}
"""Indices (a - b) / (a + b) by name: the common names of a and b."""


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
    """Return an index of ``INDICES`` by name, from bands by common name.

    Shapes, dtype and missing values are those of ``normalized_difference``.

    Raises:
        GeoAssetsError: If the index is unknown or one of its bands is not there.
    """
    if name not in INDICES:
        msg = f"index: {name!r} is unknown; allowed: {', '.join(INDICES)}"
        raise GeoAssetsError(msg)
    absent = [band for band in INDICES[name] if band not in bands]
    if absent:
        msg = f"index {name!r}: needs the bands {absent}; there are {sorted(bands)}"
        raise GeoAssetsError(msg)
    first, second = INDICES[name]
    return normalized_difference(bands[first], bands[second], valid, dtype)


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


def dequantise_index(values: NDArray[np.int16], dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Return the index of quantised values (int16, any shape) in ``dtype``, NaN where missing."""
    table = _table(np.dtype(dtype))
    units: NDArray[Any] = table[np.ascontiguousarray(values).view(np.uint16)]
    return units


@cache
def _table(dtype: np.dtype[Any]) -> NDArray[Any]:
    """Index of every int16 by its bits as uint16: a look-up needs no float64 of the whole array."""
    steps = np.arange(2**16, dtype=np.uint16).view(np.int16)
    table = (steps / _STEPS_PER_UNIT).astype(dtype)
    table[steps == MISSING] = np.nan
    return table
