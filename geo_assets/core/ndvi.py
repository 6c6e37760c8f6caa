"""Quantised NDVI of integer bands: what ``indices`` gives, without float64 images on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.indices import MISSING, NDVI_SCALE
from geo_assets.core.strips import map_strips
from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DTYPES = frozenset({"uint8", "uint16", "int16"})


def has_quantised_ndvi(*bands: NDArray[Any]) -> bool:
    """Whether ``quantised_ndvi`` takes these bands."""
    return len({band.dtype for band in bands}) == 1 and bands[0].dtype.name in _DTYPES


def quantised_ndvi(
    nir: NDArray[Any],
    red: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    threads: int | None = 1,
) -> NDArray[np.int16]:
    """Return NDVI in steps of 1e-4: equal, bit for bit, to quantising ``normalized_difference``.

    Args:
        nir: Near infrared, any shape, uint8, uint16 or int16.
        red: Red, in the same shape and dtype.
        valid: Where both hold a datum.
        threads: How many work at once; None: one for each processor.

    Returns:
        int16 in the same shape: rounded half to even, -32768 where missing.

    Raises:
        GeoAssetsError: If shapes differ, or the dtype is another.
    """
    from geo_assets.core.kernels.ndvi import ndvi_steps

    if not nir.shape == red.shape == valid.shape:
        raise GeoAssetsError(f"shapes: {nir.shape}, {red.shape}, valid {valid.shape} differ")
    if not has_quantised_ndvi(nir, red):
        raise GeoAssetsError(f"dtypes: {nir.dtype}, {red.dtype}; allowed: one of {sorted(_DTYPES)}")
    infrared, visible = (np.ascontiguousarray(band).reshape(-1) for band in (nir, red))
    known = np.ascontiguousarray(valid).reshape(-1)
    steps = float(round(1 / NDVI_SCALE))
    out = np.empty(nir.size, np.int16)

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        ndvi_steps(infrared[part], visible[part], known[part], steps, MISSING, out[part])

    map_strips(work, nir.size, threads=threads)
    return out.reshape(nir.shape)
