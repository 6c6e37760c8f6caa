"""Counting quantised values, and turning each into its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def count_values(bits: NDArray[np.uint16], counts: NDArray[np.int64]) -> None:
    """Add how often each value occurs.

    Neighbouring pixels often are equal, and a count that was just written cannot be read at once:
    four tables take turns.

    Args:
        bits: (n,) uint16.
        counts: (65536,) int64, added to.
    """
    tables = np.zeros((4, 65536), np.int64)
    even = bits.size - bits.size % 4
    for i in range(0, even, 4):
        tables[0, bits[i]] += 1
        tables[1, bits[i + 1]] += 1
        tables[2, bits[i + 2]] += 1
        tables[3, bits[i + 3]] += 1
    for i in range(even, bits.size):
        tables[0, bits[i]] += 1
    for table in range(4):
        for value in range(65536):
            counts[value] += tables[table, value]


@kernel
def look_up(bits: NDArray[np.uint16], table: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write the entry of each value.

    Args:
        bits: (n,) uint16.
        table: (65536,) uint8.
        out: (n,) uint8, written.
    """
    for i in range(bits.size):
        out[i] = table[bits[i]]
