"""Counting quantised values, and turning each into its label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


_MOST_AT_A_TIME = 2**31
"""Values whose counts fit 32 bits: tables of half the size stay in the cache."""


@kernel
def count_values(bits: NDArray[np.uint16], counts: NDArray[np.int64]) -> None:
    """Add how often each value occurs.

    Neighbouring pixels often are equal, and a count that was just written cannot be read at once:
    four tables take turns.

    Args:
        bits: (n,) uint16.
        counts: (65536,) int64, added to.
    """
    for begin in range(0, bits.size, _MOST_AT_A_TIME):
        part = bits[begin : begin + _MOST_AT_A_TIME]
        tables = np.zeros((4, 65536), np.uint32)
        even = part.size - part.size % 4
        for i in range(0, even, 4):
            tables[0, part[i]] += np.uint32(1)
            tables[1, part[i + 1]] += np.uint32(1)
            tables[2, part[i + 2]] += np.uint32(1)
            tables[3, part[i + 3]] += np.uint32(1)
        for i in range(even, part.size):
            tables[0, part[i]] += np.uint32(1)
        for table in range(4):
            for value in range(65536):
                counts[value] += np.int64(tables[table, value])


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
