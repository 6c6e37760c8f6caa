"""Which pixels of a scene are clear, from its Sentinel-2 scene classification (SCL).

Only masks live here; the filter by a tile's ``eo:cloud_cover`` is a search and belongs to sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.errors import GeoAssetsError

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

DEFAULT_EXCLUDED_SCL = (0, 1, 3, 8, 9, 10)
"""No data, saturated or defective, cloud shadow, cloud of medium and of high probability, cirrus
(Sentinel-2 Level-2A Product Format Specification, scene classification)."""

SCL_NO_DATA = 0
"""Class of pixels that were not observed."""


def clear_mask(
    scl: NDArray[np.integer[Any]],
    excluded: Collection[int] = DEFAULT_EXCLUDED_SCL,
    dilate_pixels: int = 0,
) -> NDArray[np.bool_]:
    """Return where a scene is clear: not of an excluded class, nor near a pixel that is.

    Args:
        scl: (y, x) scene classification, any integer dtype.
        excluded: Classes that are not clear.
        dilate_pixels: Radius in pixels of the disk by which excluded classes are grown; a pixel at
            exactly that distance (centre to centre) is not clear. The class 0 (no data) is never
            grown: the edge of a swath is not a cloud, and a window that could not be read must not
            take its neighbours with it.

    Returns:
        (y, x) bool, True = clear.

    Raises:
        GeoAssetsError: If ``dilate_pixels`` is negative.
    """
    if dilate_pixels < 0:
        msg = f"dilate_pixels: {dilate_pixels} pixels; allowed: 0 or more"
        raise GeoAssetsError(msg)
    clear: NDArray[np.bool_]
    if scl.dtype == np.uint8:
        kept = np.ones(256, bool)
        kept[[number for number in excluded if 0 <= number < len(kept)]] = False
        clear = _looked_up(scl.astype(np.uint8, copy=False), kept)
    else:
        clear = np.isin(scl, list(excluded), invert=True)
    if dilate_pixels == 0:
        return clear
    unclear = ~clear
    grown = unclear & (scl != SCL_NO_DATA)
    if not grown.any():
        return clear
    from scipy.ndimage import distance_transform_edt

    # The distance transform costs the same for every radius; a disk as structuring element would
    # cost its area, 785 000 pixels at the largest radius a campaign may ask for.
    near = distance_transform_edt(~grown) <= dilate_pixels
    clear &= ~near
    return clear


def _looked_up(scl: NDArray[np.uint8], table: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from geo_assets.core.kernels.clouds import keep_classes

    clear = np.ones(scl.shape, bool)
    keep_classes(np.ascontiguousarray(scl).reshape(-1), table, clear.reshape(-1))
    return clear
