"""Samples of pixels, seeded and spread evenly over an area.

``block_sample`` and ``merge_samples`` draw from an area that is read block by block: pixels have a
fixed order that depends on seed, row and column alone and in which every beginning is spread evenly
(``kernels.scrambled_order``); a sample is the beginning of that order, whatever the blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.scrambled_order import LEVELS, thinned_pixels
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels drawn from an area, in the order of drawing: each beginning is a sample too.

    Attributes:
        values: (n, feature) float32.
        rows: (n,) int64, in the area.
        cols: (n,) int64.
        places: (n,) int64, rising: where in the order of all pixels each one comes.
    """

    values: NDArray[np.float32]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    places: NDArray[np.int64]


def block_sample(
    features: NDArray[Any],
    valid: NDArray[np.bool_],
    *,
    origin: tuple[int, int],
    shape: tuple[int, int],
    size: int,
    seed: int,
) -> Sample:
    """Return what a block of an area gives to a sample of it.

    The merged samples of blocks are the sample of the area, however it is cut into blocks. Every
    aligned tile of 2 x 2, 4 x 4, ... pixels gives as many as any other, to one pixel, where all
    its pixels are valid; else fewer, by its share of valid ones.

    Args:
        features: (feature, y, x).
        valid: (y, x) bool, True = may be drawn.
        origin: Row and column of the block in the area.
        shape: Rows and columns of the whole area.
        size: Pixels to draw from the area; all valid ones if there are no more.
        seed: Seed, 0 or more.

    Raises:
        ClusteringError: If shapes do not fit, the block leaves the area, the size is not positive
            or the area has 2**24 rows or columns.
    """
    _check_size(size)
    height, width = valid.shape
    if features.shape[1:] != valid.shape:
        msg = f"shapes: features {features.shape}, valid {valid.shape}; (feature, y, x) and (y, x)"
        raise ClusteringError(msg)
    top, left = origin
    if min(top, left) < 0 or top + height > shape[0] or left + width > shape[1]:
        msg = f"origin: a block of {valid.shape} at {origin} leaves its area of {shape}"
        raise ClusteringError(msg)
    if max(shape) >= 2**LEVELS:
        msg = f"shape: {shape}; allowed: fewer than {2**LEVELS} rows and columns"
        raise ClusteringError(msg)
    count = int(np.count_nonzero(valid))
    # Of tiles of 2**level pixels a side one pixel each: as large as leaves enough, to be quick.
    level = max(0, int(math.log2(max(count, 1) / size) / 2))
    inside = np.require(valid, requirements=["C", "W"])  # read-only: a type of its own to compile
    rows, cols, places = thinned_pixels(inside, top, left, level, seed)
    while level > 0 and len(places) < size:
        level -= 1
        rows, cols, places = thinned_pixels(inside, top, left, level, seed)
    drawn = np.argsort(places, kind="stable")[:size]
    rows, cols = rows[drawn], cols[drawn]
    values = np.ascontiguousarray(features[:, rows - top, cols - left].T, np.float32)
    return Sample(values, rows, cols, places[drawn])


def merge_samples(samples: Sequence[Sample], size: int) -> Sample:
    """Return the sample of an area from those of its blocks, in whatever order.

    Samples of several areas can be merged too: each gives pixels by its share of valid ones; of
    pixels at the same row and column those of earlier samples come first.

    Args:
        samples: One or more, drawn with the same seed and with at least this size.
        size: Pixels of the merged sample; all there are if they are no more.

    Raises:
        ClusteringError: If there is no sample, or the size is not positive.
    """
    _check_size(size)
    if not samples:
        msg = "samples: none; at least one is needed"
        raise ClusteringError(msg)
    places = np.concatenate([sample.places for sample in samples])
    drawn = np.argsort(places, kind="stable")[:size]
    return Sample(
        np.concatenate([sample.values for sample in samples])[drawn],
        np.concatenate([sample.rows for sample in samples])[drawn],
        np.concatenate([sample.cols for sample in samples])[drawn],
        places[drawn],
    )


def one_of_each_run(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut range(count) into ``size`` runs of equal length (to one) and draw one of each; rising."""
    _check_size(size)
    if count <= size:
        return np.arange(count)
    edges = np.arange(size + 1, dtype=np.int64) * count // size
    return rng.integers(edges[:-1], edges[1:])


def _check_size(size: int) -> None:
    if size < 1:
        msg = f"sample size: {size} pixels; allowed: 1 or more"
        raise ClusteringError(msg)
