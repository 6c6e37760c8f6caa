"""Bands to photographs: percentile stretch, gamma, no data; the RGB picture with its labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.errors import GeoAssetsError
from geo_assets.previews.palette import NO_DATA, rgb_of
from geo_assets.previews.raster import (
    Array,
    Mask,
    as_bands,
    resample_values,
    validity,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (0.5, 99.5)
GAMMA = 1.3
"""Gamma of the pictures: Sentinel-2's land is dark beside its roofs and beaches."""


def percentile_limits(
    data: Array, valid: Mask | None = None, percentiles: tuple[float, float] = PERCENTILES
) -> NDArray[np.float64]:
    """Return the lower and upper percentile of each band's valid pixels, (band, 2) float64.

    Args:
        data: (band, y, x) or (y, x), any number type; NaN is no data.
        valid: True = datum, (y, x) or (band, y, x).
        percentiles: In percent, numpy's linear interpolation.

    A scene without a datum has the limits 0 and 1.
    """
    bands = as_bands(data)
    known = validity(bands, valid)
    if not known.any():
        return np.tile(np.array([0.0, 1.0]), (len(bands), 1))
    return np.stack([np.percentile(band[known].astype(np.float64), percentiles) for band in bands])


def stretch(
    data: Array,
    valid: Mask | None = None,
    *,
    limits: NDArray[np.float64] | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
    gamma: float = 1.0,
) -> NDArray[np.uint8]:
    """Return bands as a photograph, uint8 (y, x, 3), stretched between their limits.

    Args:
        data: (3, y, x), (1, y, x) or (y, x); one band becomes grey.
        valid: True = datum, (y, x) or (band, y, x); others take the no-data grey.
        limits: (band, 2), lower and upper value; None = the scene's own percentiles.
        percentiles: In percent, where no limits are given.
        gamma: Exponent 1/gamma after the stretch; above 1 brightens.

    Raises:
        GeoAssetsError: There are neither one nor three bands.
    """
    bands = as_bands(data)
    if len(bands) not in (1, 3):
        raise GeoAssetsError(f"a photograph of {len(bands)} bands: 1 or 3 are allowed")
    known = validity(bands, valid)
    span = percentile_limits(bands, known, percentiles) if limits is None else limits
    low, high = span[:, 0, None, None], span[:, 1, None, None]
    values = np.where(known, bands, 0).astype(np.float64)
    # A band of one value has no span: it is shown at half brightness, neither black nor white.
    width = np.where(high > low, high - low, 1.0)
    share = np.where(high > low, np.clip((values - low) / width, 0.0, 1.0), 0.5)
    photograph = np.rint(share ** (1 / gamma) * 255).astype(np.uint8).transpose(1, 2, 0)
    photograph = np.repeat(photograph, 3, axis=2) if len(bands) == 1 else photograph.copy()
    photograph[~known] = rgb_of(NO_DATA)
    return photograph


def shown(
    data: Array,
    valid: Mask | None,
    shape: tuple[int, int],
    *,
    limits: NDArray[np.float64] | None = None,
    gamma: float = GAMMA,
) -> tuple[NDArray[np.uint8], Mask]:
    """Return a photograph of ``shape`` (rows, columns), and where it has data (y, x).

    The limits are those of the whole scene, not of its shrunken copy.
    """
    bands = as_bands(data)
    known = validity(bands, valid)
    span = percentile_limits(bands, known) if limits is None else limits
    small, seen = resample_values(bands, known, shape)
    return stretch(small, seen, limits=span, gamma=gamma), seen
