"""A seeded order of pixels in which every beginning is spread evenly over the plane.

The order is the van der Corput sequence of the plane's quadtree, scrambled at every node (Owen
1995, "Randomly permuted (t,m,s)-nets and (t,s)-sequences"): the pixel that comes first in a 2 x 2
tile is drawn by a hash of the tile, then the first of these in each 4 x 4 tile, and so on. The
place of a pixel in it depends on its row, its column and the seed alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS = 24
"""Levels of the quadtree: rows and columns below 2**24 have places of their own."""

_LEVEL = np.uint64(0x9E3779B97F4A7C15)
_ROW = np.uint64(0xC2B2AE3D27D4EB4F)
_COL = np.uint64(0x165667B19E3779F9)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@kernel
def first_quarter(seed: int, level: int, row: int, col: int) -> np.int64:
    """Return the quarter (0 to 3, row bit then column bit) of a tile that comes first.

    Args:
        seed: Seed.
        level: The tile has 2**(level + 1) pixels a side.
        row: Row of the tile among tiles of its size.
        col: Column of the tile.
    """
    value = np.uint64(seed) + np.uint64(level + 1) * _LEVEL
    value = (value ^ (value >> np.uint64(29))) * _MIX_2
    value ^= np.uint64(row) * _ROW + np.uint64(col) * _COL
    value = (value ^ (value >> np.uint64(30))) * _MIX_1  # the finaliser of splitmix64
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return np.int64((value ^ (value >> np.uint64(31))) & np.uint64(3))


@kernel
def place_in_order(seed: int, row: int, col: int) -> np.int64:
    """Return the place of a pixel in the order: 2 bits a level, the finest level first."""
    place = np.int64(0)
    for level in range(LEVELS):
        quarter = ((row >> level) & 1) << 1 | ((col >> level) & 1)
        first = first_quarter(seed, level, row >> (level + 1), col >> (level + 1))
        place = place << 2 | (quarter ^ first)
    return place


@kernel
def thinned_pixels(
    valid: NDArray[np.bool_], top: int, left: int, level: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return rows, columns and places of the valid pixels that come first in their tiles.

    No other pixel of the block comes before any of them.

    Args:
        valid: (y, x).
        top: Row of the block in its area.
        left: Column of the block.
        level: Tiles have 2**level pixels a side, level 0: every valid pixel.
        seed: Seed.
    """
    height, width = valid.shape
    first_row, first_col = top >> level, left >> level
    tile_rows = ((top + height - 1) >> level) - first_row + 1
    tile_cols = ((left + width - 1) >> level) - first_col + 1
    rows = np.empty(tile_rows * tile_cols, np.int64)
    cols, places = np.empty_like(rows), np.empty_like(rows)
    found = 0
    for tile_row in range(first_row, first_row + tile_rows):
        for tile_col in range(first_col, first_col + tile_cols):
            row, col = tile_row, tile_col
            for below in range(level - 1, -1, -1):
                quarter = first_quarter(seed, below, row, col)
                row, col = 2 * row + int(quarter >> 1), 2 * col + int(quarter & 1)
            inside = top <= row < top + height and left <= col < left + width
            if inside and valid[row - top, col - left]:
                rows[found], cols[found] = row, col
                places[found] = place_in_order(seed, row, col)
                found += 1
    return rows[:found], cols[:found], places[:found]
