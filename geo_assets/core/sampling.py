"""Samples of pixels, seeded and spread over an area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CELLS = 32
"""Cells a side of the coarse grid over which a sample is spread."""


def spread_sample(valid: NDArray[np.bool_], size: int, seed: int) -> NDArray[np.int64]:
    """Draw valid pixels evenly over an image: every part gives pixels by its share of valid ones.

    The valid pixels, taken cell by cell of a 32 x 32 grid, are divided into ``size`` runs of equal
    length (to one pixel); one pixel of each run is drawn.

    Args:
        valid: (y, x) bool, True = may be drawn.
        size: Pixels to draw; all valid ones if there are no more.
        seed: Seed.

    Returns:
        Rising flat indices into the image, each at most once.
    """
    row_edges = np.arange(_CELLS + 1) * valid.shape[0] // _CELLS
    col_edges = np.arange(_CELLS + 1) * valid.shape[1] // _CELLS
    cells = [
        (slice(row_edges[i], row_edges[i + 1]), slice(col_edges[j], col_edges[j + 1]))
        for i in range(_CELLS)
        for j in range(_CELLS)
    ]
    ends = np.cumsum([np.count_nonzero(valid[cell]) for cell in cells])
    positions = one_of_each_run(int(ends[-1]), size, np.random.default_rng(seed))
    chosen = []
    for cell, start, stop in zip(cells, np.r_[0, ends[:-1]], ends, strict=True):
        first, last = np.searchsorted(positions, [start, stop])
        if first < last:
            rows, cols = np.nonzero(valid[cell])
            inside = positions[first:last] - start
            flat = (rows[inside] + cell[0].start) * valid.shape[1] + cols[inside] + cell[1].start
            chosen.append(flat)
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.zeros(0, np.int64)


def one_of_each_run(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut range(count) into ``size`` runs of equal length (to one) and draw one of each; rising."""
    if size < 1:
        msg = f"sample size: {size} pixels; allowed: 1 or more"
        raise ClusteringError(msg)
    if count <= size:
        return np.arange(count)
    edges = np.arange(size + 1, dtype=np.int64) * count // size
    return rng.integers(edges[:-1], edges[1:])
