"""Medoid over time: for every pixel the observation with the least distance to all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIP = 1024
"""Pixels whose distances are kept at once, side by side for vector instructions."""


def medoid_of_pixels(
    data: NDArray[Any], valid: NDArray[np.bool_], chosen: NDArray[np.intp]
) -> None:
    """Write for each pixel the number of the observation nearest to its others.

    Distances are Euclidean over the bands, in float64, and added in the order of time; among equal
    sums the earliest observation wins.

    Args:
        data: (time, band, pixel), C-contiguous.
        valid: (time, pixel), C-contiguous; only valid observations are asked and chosen.
        chosen: (pixel,) receives the number of the observation; 0 where none is valid.
    """
    _medoids(data, valid.view(np.uint8), chosen)


@kernel
def _medoids(data: NDArray[Any], valid: NDArray[np.uint8], chosen: NDArray[np.intp]) -> None:
    times, pixels = valid.shape
    sums = np.empty((times, _STRIP))
    for left in range(0, pixels, _STRIP):
        right = min(left + _STRIP, pixels)
        sums[:] = 0
        for one in range(times):
            for other in range(one):
                both = valid[one, left:right] & valid[other, left:right]
                _add_distances(data, (one, other, left), both, sums[one], sums[other])
        _choose(sums, valid, left, chosen[left:right])


@kernel
def _add_distances(
    data: NDArray[Any],
    place: tuple[int, int, int],
    both: NDArray[np.uint8],
    sum_of_one: NDArray[np.float64],
    sum_of_other: NDArray[np.float64],
) -> None:
    """Add the distance of two observations to the sums of both."""
    one, other, left = place
    size = len(both)
    square = np.zeros(size)
    for band in range(data.shape[1]):
        a, b = data[one, band, left : left + size], data[other, band, left : left + size]
        for pixel in range(size):
            difference = np.float64(a[pixel]) - np.float64(b[pixel])
            square[pixel] += difference * difference
    for pixel in range(size):
        distance = np.sqrt(square[pixel]) if both[pixel] else 0.0
        sum_of_one[pixel] += distance
        sum_of_other[pixel] += distance


@kernel
def _choose(
    sums: NDArray[np.float64], valid: NDArray[np.uint8], left: int, chosen: NDArray[np.intp]
) -> None:
    """Write the first valid observation with the least sum."""
    size = len(chosen)
    least = np.full(size, np.inf)
    chosen[:] = -1
    for time in range(len(valid)):
        known, total = valid[time, left : left + size], sums[time]
        for pixel in range(size):
            # Numbers of any size: the squares of all distances may be infinite.
            if known[pixel] and (chosen[pixel] < 0 or total[pixel] < least[pixel]):
                least[pixel] = total[pixel]
                chosen[pixel] = time
    for pixel in range(size):
        chosen[pixel] = max(chosen[pixel], 0)
