"""Rows of a strip compared by fours: each pixel's values pass through registers, not one by one.

A comparator of two rows reads and writes both; one of two fours has eight values at hand for nine
comparators. Rows lie one after the other, ``row`` is the first of a four, and fours are merged
whose values rise from row to row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def merge_fours(strip: NDArray[Any], low: int, high: int) -> None:
    """Bring the lower half of two fours to the rows from ``low``, the upper to those from ``high``.

    By K. E. Batcher's odd-even merge (Knuth, The Art of Computer Programming 3, 5.3.4).
    """
    one, two, three, four = strip[low], strip[low + 1], strip[low + 2], strip[low + 3]
    five, six, seven, eight = strip[high], strip[high + 1], strip[high + 2], strip[high + 3]
    for pixel in range(strip.shape[1]):
        a, b, c, d = one[pixel], two[pixel], three[pixel], four[pixel]
        e, f, g, h = five[pixel], six[pixel], seven[pixel], eight[pixel]
        a, e = min(a, e), max(a, e)
        b, f = min(b, f), max(b, f)
        c, g = min(c, g), max(c, g)
        d, h = min(d, h), max(d, h)
        c, e = min(c, e), max(c, e)
        d, f = min(d, f), max(d, f)
        one[pixel], two[pixel], three[pixel] = a, min(b, c), max(b, c)
        four[pixel], five[pixel] = min(d, e), max(d, e)
        six[pixel], seven[pixel], eight[pixel] = min(f, g), max(f, g), h


@kernel
def keep_lower(strip: NDArray[Any], low: int, high: int) -> None:
    """Bring the lower half of two fours to the rows from ``low``; the others stay as they are.

    The lesser of each value and its opposite are that half, first rising, then falling, which two
    rounds sort (Batcher's bitonic merge).
    """
    one, two, three, four = strip[low], strip[low + 1], strip[low + 2], strip[low + 3]
    five, six, seven, eight = strip[high], strip[high + 1], strip[high + 2], strip[high + 3]
    for pixel in range(strip.shape[1]):
        a, b = min(one[pixel], eight[pixel]), min(two[pixel], seven[pixel])
        c, d = min(three[pixel], six[pixel]), min(four[pixel], five[pixel])
        a, c = min(a, c), max(a, c)
        b, d = min(b, d), max(b, d)
        one[pixel], two[pixel] = min(a, b), max(a, b)
        three[pixel], four[pixel] = min(c, d), max(c, d)


@kernel
def keep_upper(strip: NDArray[Any], low: int, high: int) -> None:
    """Bring the upper half of two fours to the rows from ``high``; the others stay as they are."""
    one, two, three, four = strip[low], strip[low + 1], strip[low + 2], strip[low + 3]
    five, six, seven, eight = strip[high], strip[high + 1], strip[high + 2], strip[high + 3]
    for pixel in range(strip.shape[1]):
        a, b = max(one[pixel], eight[pixel]), max(two[pixel], seven[pixel])
        c, d = max(three[pixel], six[pixel]), max(four[pixel], five[pixel])
        a, c = min(a, c), max(a, c)
        b, d = min(b, d), max(b, d)
        five[pixel], six[pixel] = min(a, b), max(a, b)
        seven[pixel], eight[pixel] = min(c, d), max(c, d)
