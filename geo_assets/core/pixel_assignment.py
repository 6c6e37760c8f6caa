"""Pixels handed to the assignment kernel: converted block by block, spread over threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.assignment import STRIP, label_pixels
from geo_assets.core.strips import map_strips

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 256 * STRIP
"""Pixels whose sums are added by themselves, and that are converted to float32 at once."""


@dataclass(frozen=True, eq=False)
class Assigned:
    """What became of pixels.

    Attributes:
        labels: (n,) uint8, 1 to K; 0 where there is none.
        inertia: Sum of squared scaled distances to the nearest centre; where features were
            ignored, scaled to all of them.
        sums: (K, feature) float64, scaled features by label.
        counts: (K, feature) int64, how many they are.
    """

    labels: NDArray[np.uint8]
    inertia: float
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]


def assign_pixels(
    features: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    offsets: NDArray[np.float64],
    scales: NDArray[np.float64],
    centers: NDArray[np.float32],
    ignore: bool,
    summed: bool = False,
    threads: int | None = None,
) -> Assigned:
    """Label pixels by their nearest centre; the answer does not depend on the number of threads.

    Args:
        features: (feature, n), integer or float; float32 along n is read as it lies.
        valid: (n,) bool, True = to be labelled.
        offsets: (feature,), subtracted before the division by the scales, all in float32.
        scales: (feature,).
        centers: (K, feature).
        ignore: Whether NaN features are left out of distances, or make a pixel 0.
        summed: Whether sums and counts are asked for; else they are 0.
        threads: None: as many as processors may be used.
    """
    n = features.shape[1]
    as_it_lies = features.dtype == np.float32 and features.flags.c_contiguous
    labels = np.empty(n, np.uint8)
    inertias = np.zeros((-(-n // STRIP), 2))
    shape = centers.shape if summed else (0, 0)
    small = offsets.astype(np.float32), scales.astype(np.float32), centers

    def assign_block(start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
        if as_it_lies:
            label_pixels(
                features, valid, *small, ignore, start, stop, labels, inertias, sums, counts
            )
        else:
            label_pixels(
                np.ascontiguousarray(features[:, start:stop], np.float32),
                valid[start:stop],
                *small,
                ignore,
                0,
                stop - start,
                labels[start:stop],
                inertias[start // STRIP :],
                sums,
                counts,
            )
        return sums, counts

    def assign_strip(start: int, stop: int) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        firsts = range(start, stop, BLOCK)
        return [assign_block(first, min(first + BLOCK, stop)) for first in firsts]

    sums, counts = np.zeros(shape), np.zeros(shape, np.int64)
    for blocks in map_strips(assign_strip, n, threads=threads, unit=BLOCK):
        for block_sums, block_counts in blocks:
            sums += block_sums
            counts += block_counts
    return Assigned(labels, float(inertias[:, 1].sum()), sums, counts)
