"""Median over time of unsigned or signed integers of at most 16 bits, at the speed of memory.

Pixels lie side by side in strips that stay in the cache; a network of comparators sorts
all pixels of a strip at once, which the compiler turns into vector instructions. The network is
K. E. Batcher's odd-even merge sort (Sorting networks and their applications, AFIPS 1968; Knuth,
The Art of Computer Programming 3, 5.2.2, algorithm M), less the comparators that the middle two
places do not depend on.

Observations that are not valid become the greatest and the least value in turn. So they fall half
below and half above the data, and the median lies in the middle whatever their number.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DTYPES = frozenset({"uint8", "uint16", "int8", "int16"})
"""dtypes of which the sum of two values, and half of it, can be had in int32."""

_BOTH, _LOW, _HIGH = 0, 1, 2
"""Which results of a comparator are needed."""

_STRIP = 512
"""Pixels of a strip: some 36 observations stay in the first-level cache, and the few steps of
Python's semantics between two comparators are spread over many pixels."""


def median_of_pixels(
    data: NDArray[Any],
    valid: NDArray[np.bool_],
    pixels: tuple[int, int],
    *,
    fill: int,
    out: NDArray[Any],
    seen: NDArray[np.bool_],
) -> None:
    """Write the median of some pixels over time.

    It lets go of the GIL, so that threads may do parts of one image side by side.

    Args:
        data: (time, band, pixel), C-contiguous, of one of ``DTYPES``; at least one time.
        valid: (time, pixel), C-contiguous, True where every band holds a datum.
        pixels: The first of them and the one after the last.
        fill: What pixels without a valid observation receive.
        out: (band, pixel), C-contiguous. In the dtype of ``data``: receives the median, halves
            rounded half to even; in int32: twice the median, exactly.
        seen: (pixel,) receives whether there is a valid observation.
    """
    _medians(
        data,
        valid.view(np.uint8),
        median_network(len(data)),
        data.dtype.type(np.iinfo(data.dtype).max),
        np.int32(fill),
        out.dtype != data.dtype,
        *pixels,
        out,
        seen,
    )


@cache
def median_network(length: int) -> NDArray[np.int32]:
    """Return comparators (low place, high place, which results are needed) in their order.

    Applied to ``length`` values they bring to the places ``length // 2 - 1`` and ``length // 2``
    what sorting brings there, and anything to the others.
    """
    needed = {length // 2 - 1, length // 2}
    kept = []
    for low, high in reversed(list(_odd_even_merge_sort(length))):
        if not needed & {low, high}:
            continue
        if low not in needed:
            kept.append((low, high, _HIGH))
        else:
            kept.append((low, high, _BOTH if high in needed else _LOW))
        needed |= {low, high}
    network = np.array(kept[::-1], np.int32).reshape(-1, 3)
    network.flags.writeable = False
    return network


def _odd_even_merge_sort(length: int) -> Iterator[tuple[int, int]]:
    """Yield the places that are compared, lower place first, in order."""
    if length < 2:
        return
    greatest = 1 << ((length - 1).bit_length() - 1)
    size = greatest
    while size:
        reach, distance, half = greatest, size, 0
        while True:
            for low in range(length - distance):
                if low & size == half:
                    yield low, low + distance
            if reach == size:
                break
            distance, reach, half = reach - size, reach // 2, size
        size //= 2


@kernel
def _medians(  # noqa: PLR0917  # compiled functions know no keywords
    data: NDArray[Any],
    valid: NDArray[np.uint8],
    network: NDArray[np.int32],
    greatest: Any,
    fill: Any,
    doubled: bool,
    start: int,
    stop: int,
    out: NDArray[Any],
    seen: NDArray[np.bool_],
) -> None:
    times, bands, _ = data.shape
    strip = np.empty((times, _STRIP), data.dtype)
    counts = np.empty(_STRIP, np.uint16)
    # What is cut from whole rows is known to be contiguous; a window of two axes is not, and is
    # not vectorised.
    for left in range(start, stop, _STRIP):
        right = min(left + _STRIP, stop)
        count = counts[: right - left]
        for band in range(bands):
            _load(data, valid, (band, left), greatest, strip, count)
            _compare(strip, right - left, network)
            _store(strip, count, fill, doubled, out[band, left:right])
        flags = seen[left:right]
        for pixel in range(right - left):
            flags[pixel] = count[pixel] > 0


@kernel
def _load(  # noqa: PLR0917  # compiled functions know no keywords
    data: NDArray[Any],
    valid: NDArray[np.uint8],
    place: tuple[int, int],
    greatest: Any,
    strip: NDArray[Any],
    count: NDArray[np.uint16],
) -> None:
    """Copy the valid observations, and the greatest and the least value in turn for the others."""
    size = len(count)
    band, left = place
    filling = np.empty(size, strip.dtype)
    for pixel in range(size):
        filling[pixel] = greatest
        count[pixel] = 0
    for time in range(len(data)):
        given = data[time, band, left : left + size]
        known = valid[time, left : left + size]
        row = strip[time]
        for pixel in range(size):
            if known[pixel]:
                row[pixel] = given[pixel]
                count[pixel] += 1
            else:
                row[pixel] = filling[pixel]
                filling[pixel] = ~filling[pixel]


@kernel
def _compare(strip: NDArray[Any], size: int, network: NDArray[np.int32]) -> None:
    """Apply the comparators to the first pixels of a strip."""
    for number in range(len(network)):
        low, high, needed = network[number]
        one, other = strip[low, :size], strip[high, :size]
        if needed == _BOTH:
            for pixel in range(size):
                a, b = one[pixel], other[pixel]
                one[pixel] = min(a, b)
                other[pixel] = max(a, b)
        elif needed == _LOW:
            for pixel in range(size):
                one[pixel] = min(one[pixel], other[pixel])
        else:
            for pixel in range(size):
                other[pixel] = max(one[pixel], other[pixel])


@kernel
def _store(
    strip: NDArray[Any],
    count: NDArray[np.uint16],
    fill: Any,
    doubled: bool,
    out: NDArray[Any],
) -> None:
    """Write the mean of the middle two places, or of the one that counts alone, twice."""
    middle = len(strip) // 2
    before = max(middle - 1, 0)
    # With an odd number of times the middle place is the median of an odd number of observations;
    # with an even number it is the place before.
    alone = middle if len(strip) % 2 == 1 else before
    low, high, single = strip[before], strip[middle], strip[alone]
    for pixel in range(len(out)):
        odd = count[pixel] & 1
        a = np.int32(single[pixel] if odd else low[pixel])
        b = np.int32(single[pixel] if odd else high[pixel])
        total = a + b
        half = total >> 1
        value = total if doubled else half + (total & half & 1)
        out[pixel] = value if count[pixel] else fill
