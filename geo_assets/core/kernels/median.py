"""Median over time of unsigned or signed integers of at most 16 bits, at the speed of memory.

Pixels lie side by side in strips that stay in the cache; a network of comparators sorts
all pixels of a strip at once, which the compiler turns into vector instructions. Dates are compared
by fours (``fours.py``): what sorts single values by comparators sorts fours by merging them (Knuth,
The Art of Computer Programming 3, exercise 5.3.4-38). The network is K. E. Batcher's odd-even merge
sort (Sorting networks and their applications, AFIPS 1968; Knuth 5.2.2, algorithm M), less the
comparators that the middle does not depend on. While a strip is sorted, the next one is asked for.

Observations that are not valid become the greatest and the least value in turn, and so do dates
that are wanting to a multiple of four. So they fall half below and half above the data, and the
median lies in the middle whatever their number.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.fours import keep_lower, keep_upper, merge_fours, sort_four
from geo_assets.core.kernels.jit import kernel
from geo_assets.core.kernels.prefetch import LINE_BYTES, prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DTYPES = frozenset({"uint8", "uint16", "int8", "int16"})
"""dtypes of which the sum of two values, and half of it, can be had in int32."""

_BOTH, _LOW, _HIGH = 0, 1, 2
"""Which results of a comparator are needed."""

_STRIP = 512
"""Pixels of a strip: some 36 observations stay in the first-level cache, and the few steps of
Python's semantics between two merges are spread over many pixels."""


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
        median_network(-(-len(data) // 4)),
        data.dtype.type(np.iinfo(data.dtype).max),
        np.int32(fill),
        out.dtype != data.dtype,
        *pixels,
        out,
        seen,
    )


@cache
def median_network(fours: int) -> NDArray[np.int32]:
    """Return comparators (lower four, upper four, which results are needed) in their order.

    Applied to sorted fours they bring to the middle two of all values what sorting brings there,
    and anything to the others. With an odd number of fours both lie in the middle one.
    """
    needed = {(fours - 1) // 2, fours // 2}
    kept = []
    for low, high in reversed(list(_odd_even_merge_sort(fours))):
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
    strip = np.empty((-(-times // 4) * 4, _STRIP), data.dtype)
    counts = np.empty(_STRIP, np.uint16)
    # What is cut from whole rows is known to be contiguous; a window of two axes is not, and is
    # not vectorised.
    for left in range(start, stop, _STRIP):
        right = min(left + _STRIP, stop)
        count = counts[: right - left]
        for band in range(bands):
            _load(data, valid, (band, left), greatest, strip, count)
            coming = (band + 1, left) if band + 1 < bands else (0, right)
            _sort_middle(strip, network, data, valid, coming)
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
            there, otherwise = known[pixel], filling[pixel]
            row[pixel] = given[pixel] if there else otherwise
            filling[pixel] = otherwise if there else ~otherwise
            count[pixel] += there
    for time in range(len(data), len(strip)):
        row = strip[time]
        for pixel in range(size):
            row[pixel] = filling[pixel]
            filling[pixel] = ~filling[pixel]


@kernel
def _sort_middle(
    strip: NDArray[Any],
    network: NDArray[np.int32],
    data: NDArray[Any],
    valid: NDArray[np.uint8],
    coming: tuple[int, int],
) -> None:
    """Bring the middle two of a strip's values to the middle two rows, pixel by pixel.

    Args:
        strip: (time, pixel), as many times as fours hold. What is beyond the image is sorted, too.
        network: See ``median_network``.
        data: See ``median_of_pixels``.
        valid: The same.
        coming: Band and first pixel of the strip that is asked for meanwhile.
    """
    fours = len(strip) // 4
    steps = fours + len(network)
    for step in range(steps):
        if step < fours:
            sort_four(strip, 4 * step)
        else:
            low, high, needed = network[step - fours]
            if needed == _BOTH:
                merge_fours(strip, 4 * low, 4 * high)
            elif needed == _LOW:
                keep_lower(strip, 4 * low, 4 * high)
            else:
                keep_upper(strip, 4 * low, 4 * high)
        _ask_for(data, valid, coming, (len(data) * step // steps, len(data) * (step + 1) // steps))


@kernel
def _ask_for(
    data: NDArray[Any], valid: NDArray[np.uint8], coming: tuple[int, int], times: tuple[int, int]
) -> None:
    """Ask for some times of a strip, few enough not to be waited for."""
    band, left = coming
    _, bands, pixels = data.shape
    right = min(left + _STRIP, pixels)
    for time in range(*times):
        for pixel in range(left, right, LINE_BYTES // data.itemsize):
            prefetch(data, (time * bands + band) * pixels + pixel)
        if band == 0:
            for pixel in range(left, right, LINE_BYTES):
                prefetch(valid, time * pixels + pixel)


@kernel
def _store(
    strip: NDArray[Any],
    count: NDArray[np.uint16],
    fill: Any,
    doubled: bool,
    out: NDArray[Any],
) -> None:
    """Write the mean of the middle two rows, or the lower one where it is the only one, twice.

    Rows are even in number: of an odd number of observations the median lies in the lower one, for
    the greatest value filled in is one more than the least.
    """
    middle = len(strip) // 2
    low, high = strip[middle - 1], strip[middle]
    for pixel in range(len(out)):
        a = np.int32(low[pixel])
        b = a if count[pixel] & 1 else np.int32(high[pixel])
        total = a + b
        half = total >> 1
        value = total if doubled else half + (total & half & 1)
        out[pixel] = value if count[pixel] else fill
