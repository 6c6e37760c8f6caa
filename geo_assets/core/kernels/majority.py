"""The most frequent label around each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def majority_rows(
    labels: NDArray[np.uint8],
    half_widths: NDArray[np.int64],
    strip: tuple[int, int],
    highest: int,
    smoothed: NDArray[np.uint8],
) -> None:
    """Write the majority labels of a strip into ``smoothed``.

    A count of the labels in the neighbourhood slides along each row: what enters on the right is
    added, what leaves on the left is taken off.

    Args:
        labels: (y, x) uint8, 0 = no data.
        half_widths: (2 radius + 1,) columns on either side of the middle, for each row of the
            neighbourhood.
        strip: First row, and the row after the last.
        highest: The highest label there is.
        smoothed: (y, x) uint8, written where ``labels`` is not 0.
    """
    rows, cols = labels.shape
    radius = half_widths.size // 2
    counts = np.zeros(highest + 1, np.int64)
    for row in range(strip[0], strip[1]):
        counts[:] = 0
        first = max(row - radius, 0)
        last = min(row + radius, rows - 1)
        for near in range(first, last + 1):
            for col in range(min(half_widths[near - row + radius], cols)):
                counts[labels[near, col]] += 1
        for col in range(cols):
            for near in range(first, last + 1):
                half = half_widths[near - row + radius]
                if col + half < cols:
                    counts[labels[near, col + half]] += 1
                if col - half - 1 >= 0:
                    counts[labels[near, col - half - 1]] -= 1
            own = labels[row, col]
            if own != 0:
                best = own
                # The own label wins a tie, else the lower one does: it comes first.
                for label in range(1, highest + 1):
                    if counts[label] > counts[best]:
                        best = label
                smoothed[row, col] = best
