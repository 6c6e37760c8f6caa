"""Pixels of unpacked tiles laid where they belong, their differences summed on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def lay_tile(  # noqa: PLR0917  # compiled functions know no keywords
    tile: NDArray[Any],
    samples: NDArray[np.int64],
    first_row: int,
    first_col: int,
    differences: bool,
    out: NDArray[Any],
) -> None:
    """Write a window of some samples of a tile.

    Args:
        tile: (y, x, sample) integers of at most 32 bits.
        samples: (band,), the samples that are wanted, from 0.
        first_row: Where the window begins in the tile.
        first_col: The same.
        differences: Whether each value is the difference to the one on its left (predictor 2 of
            TIFF), which wraps.
        out: (band, y, x) in the tile's dtype, written; its size is the window's.
    """
    bands, rows, cols = out.shape
    for band in range(bands):
        for row in range(rows):
            # Of one sample and from the first column on: a loop that has to add to find each value
            # takes half as long again.
            line = tile[first_row + row, :, samples[band]]
            given, written = line[first_col:], out[band, row]
            if differences:
                total = np.int64(0)
                for col in range(first_col):
                    total += line[col]
                for col in range(cols):
                    # What is written is cut to the dtype's bits, so that sums wrap.
                    total += given[col]
                    written[col] = total
            else:
                for col in range(cols):
                    written[col] = given[col]
