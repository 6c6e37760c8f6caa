"""Reducers that take all bands of a pixel from one observation, so that no spectrum is mixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.indices import normalized_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORSE_THAN_ANY = -2.0
"""Below every index."""


def medoid(data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Take the observation nearest to all others, see ``Reducer``.

    Nearest is the least sum of Euclidean distances, over the bands, to the other valid
    observations of the pixel; among equals the earliest. Flood, N.: Seasonal composite Landsat
    TM/ETM+ images using the medoid (a multi-dimensional median), Remote Sensing 5, 2013.
    """
    from geo_assets.core.kernels.medoid import medoid_of_pixels

    times, bands, rows, cols = data.shape
    chosen = np.empty(rows * cols, np.intp)
    medoid_of_pixels(
        np.ascontiguousarray(data).reshape(times, bands, -1),
        np.ascontiguousarray(valid).reshape(times, -1),
        chosen,
    )
    return _taken(data, chosen.reshape(rows, cols), dtype)


@dataclass(frozen=True)
class MaxNdvi:
    """Take the observation with the greatest NDVI, the earliest among equals (``Reducer``).

    Holben, B. N.: Characteristics of maximum-value composite images from temporal AVHRR data,
    International Journal of Remote Sensing 7, 1986. An observation of which the NDVI means nothing
    (see ``normalized_difference``) is taken where there is no other.

    Attributes:
        red: Place of the red band among the bands.
        nir: Place of the near-infrared one.
    """

    red: int
    nir: int

    def __call__(
        self, data: NDArray[Any], valid: NDArray[np.bool_], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        """Reduce one block, see ``Reducer``."""
        ndvi = normalized_difference(data[:, self.nir], data[:, self.red], valid)
        rank = np.nan_to_num(ndvi, nan=_WORSE_THAN_ANY)
        rank[~valid] = -np.inf
        return _taken(data, rank.argmax(axis=0), dtype)


def _taken(data: NDArray[Any], chosen: NDArray[np.intp], dtype: np.dtype[Any]) -> NDArray[Any]:
    """All bands of the observation (y, x) that was chosen for each pixel."""
    image: NDArray[Any] = np.take_along_axis(data, chosen[np.newaxis, np.newaxis], axis=0)[0]
    return image.astype(dtype)
