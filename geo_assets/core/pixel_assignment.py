"""Pixels handed to the assignment kernel: converted block by block, spread over threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.assignment import STRIP, label_pixels
from geo_assets.core.strips import map_strips

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 256 * STRIP
"""Pixels that are converted to float32 at once."""


PLACE = 2
"""Features that are the place of a pixel, where it has one: the last ones."""


def assign_pixels(
    features: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    offsets: NDArray[np.float64],
    scales: NDArray[np.float64],
    centers: NDArray[np.float32],
    ignore: bool,
    placed: bool = False,
    threads: int | None = None,
) -> tuple[NDArray[np.uint8], float]:
    """Label pixels by their nearest centre; the answer does not depend on the number of threads.

    Args:
        features: (feature, n), integer or float; contiguous float32 is read as it lies.
        valid: (n,) bool, True = to be labelled.
        offsets: (feature,), subtracted before the division by the scales, all in float32.
        scales: (feature,).
        centers: (K, feature), of scaled features; NaN, with ``ignore`` alone, where a centre says
            nothing of a feature. This is left out of distances, which are scaled to all features
            before they are compared; a pixel that has nothing in common with any centre is 0.
        ignore: Whether NaN features are left out of distances, or make a pixel 0.
        placed: Whether the last two features are the place of a pixel. Distances over some of the
            other ones are scaled to all of these before that of the place is added.
        threads: None: as many as processors may be used.

    Returns:
        Labels (n,) uint8, 1 to K, 0 = none; and the sum of squared distances to the nearest
        centre, those over some of the features scaled to all.
    """
    n = features.shape[1]
    # Read-only arrays, as those that came from another process, are a type of their own to the
    # kernel: copies spare a second compilation.
    as_it_lies = features.dtype == np.float32 and features.flags.carray
    inside = np.require(valid, requirements=["C", "W"])
    own_centers = np.array(centers, np.float32)
    shared, place = shared_features(own_centers, placed=placed)
    own_centers[np.isnan(own_centers)] = 0  # left out of distances, but infinite times 0 is NaN
    own_offsets, own_scales = offsets.astype(np.float32), scales.astype(np.float32)
    labels = np.empty(n, np.uint8)
    inertias = np.zeros((-(-n // STRIP), 2))
    no_sums, no_counts = np.zeros((0, 0)), np.zeros((0, 0), np.int64)

    def assign(block: NDArray[np.float32], first: int, start: int, stop: int) -> None:
        """Label the pixels from start to stop of a block that begins at the pixel ``first``."""
        label_pixels(
            block,
            inside[first:],
            own_offsets,
            own_scales,
            own_centers,
            ignore,
            shared,
            place,
            start,
            stop,
            labels[first:],
            inertias[first // STRIP :],
            no_sums,
            no_counts,
        )

    def assign_strip(start: int, stop: int) -> None:
        if as_it_lies:
            assign(features, 0, start, stop)
            return
        for first in range(start, stop, BLOCK):
            block = features[:, first : min(first + BLOCK, stop)]
            assign(np.array(block, np.float32, order="C"), first, 0, block.shape[1])

    map_strips(assign_strip, n, threads=threads, unit=BLOCK)
    return labels, float(inertias[:, 1].sum())


def shared_features(
    centers: NDArray[np.float32], *, placed: bool
) -> tuple[NDArray[np.float32], int]:
    """Return what ``label_pixels`` takes as ``shared`` and ``place``, for centres (K, feature)."""
    known = ~np.isnan(centers)
    if placed or not known.all():
        return known.astype(np.float32), PLACE if placed else 0
    return np.zeros((0, 0), np.float32), 0
