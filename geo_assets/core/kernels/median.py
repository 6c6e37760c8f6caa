"""Median over time of unsigned or signed integers of at most 16 bits, at the speed of memory.

Pixels lie side by side in strips that stay in the cache; a network of comparators sorts
all pixels of a strip at once, which the compiler turns into vector instructions. Dates are compared
by fours, which are sorted as they are copied: what sorts single values by comparators sorts fours
by merging them (``fours.py``; Knuth, The Art of Computer Programming 3, exercise 5.3.4-38). The
network is K. E. Batcher's odd-even merge sort (Sorting networks and their applications, AFIPS 1968;
Knuth 5.2.2, algorithm M), less the comparators that the middle does not depend on. While a strip
is sorted, the next one is asked for.

Observations that are not valid become the greatest and the least value in turn, and so do dates
that are wanting to a multiple of four. So they fall half below and half above the data, and the
median lies in the middle whatever their number.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.kernels.fours import keep_lower, keep_upper, merge_fours
from geo_assets.core.kernels.jit import kernel
from geo_assets.core.kernels.prefetch import LINE_BYTES, prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

DTYPES = frozenset({"uint8", "uint16", "int8", "int16"})
"""dtypes of which the sum of two values, and half of it, can be had in int32."""

_BOTH, _LOW, _HIGH = 0, 1, 2
"""Which results of a comparator are needed."""

_STRIP = 1024
"""Pixels of a strip: some 12 observations stay in the first-level cache and some hundred in the
second, and the few steps of Python's semantics between two merges are spread over many pixels."""


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
    filling = np.empty(_STRIP, data.dtype)
    counts = np.empty(_STRIP, np.uint16)
    # What is cut from whole rows is known to be contiguous; a window of two axes is not, and is
    # not vectorised.
    for left in range(start, stop, _STRIP):
        right = min(left + _STRIP, stop)
        count = counts[: right - left]
        for band in range(bands):
            coming = (band + 1, left) if band + 1 < bands else (0, right)
            filling[:] = greatest
            count[:] = 0
            _sort_middle(data, valid, (band, left), coming, network, strip, filling, count)
            _store(strip, count, fill, doubled, out[band, left:right])
        flags = seen[left:right]
        for pixel in range(right - left):
            flags[pixel] = count[pixel] > 0


@kernel
def _sort_middle(  # noqa: PLR0917  # compiled functions know no keywords
    data: NDArray[Any],
    valid: NDArray[np.uint8],
    place: tuple[int, int],
    coming: tuple[int, int],
    network: NDArray[np.int32],
    strip: NDArray[Any],
    filling: NDArray[Any],
    count: NDArray[np.uint16],
) -> None:
    """Bring the middle two of a strip's values to the middle two rows, pixel by pixel.

    Args:
        data: See ``median_of_pixels``.
        valid: The same.
        place: Band and first pixel of the strip.
        coming: Band and first pixel of the strip that is asked for meanwhile.
        network: See ``median_network``.
        strip: (time, pixel), as many times as fours hold. What is beyond the image is merged, too.
        filling: (pixel,) the greatest value; changes.
        count: (pixel,) zeros; receives how many observations are valid.
    """
    fours = len(strip) // 4
    steps = fours + len(network)
    for step in range(steps):
        if step < fours:
            _load_four(data, valid, place, 4 * step, strip, filling, count)
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
def _load_four(  # noqa: PLR0917  # compiled functions know no keywords
    data: NDArray[Any],
    valid: NDArray[np.uint8],
    place: tuple[int, int],
    time: int,
    strip: NDArray[Any],
    filling: NDArray[Any],
    count: NDArray[np.uint16],
) -> None:
    """Copy four dates, sorted: what is not valid as the greatest and the least value in turn."""
    band, left = place
    right, last = left + len(count), len(data) - 1
    # A date that is wanting is the last one, nowhere valid.
    time1, time2, time3 = min(time + 1, last), min(time + 2, last), min(time + 3, last)
    there1, there2 = np.uint8(time + 1 <= last), np.uint8(time + 2 <= last)
    there3 = np.uint8(time + 3 <= last)
    given0, given1 = data[time, band, left:right], data[time1, band, left:right]
    given2, given3 = data[time2, band, left:right], data[time3, band, left:right]
    known0, known1 = valid[time, left:right], valid[time1, left:right]
    known2, known3 = valid[time2, left:right], valid[time3, left:right]
    first, second, third, fourth = strip[time], strip[time + 1], strip[time + 2], strip[time + 3]
    # Wider integers, which Python's semantics make of bits, would take as many more instructions.
    narrow = strip.dtype.type
    for pixel in range(len(count)):
        known_a, known_b = known0[pixel], np.uint8(known1[pixel] & there1)
        known_c, known_d = np.uint8(known2[pixel] & there2), np.uint8(known3[pixel] & there3)
        extreme = filling[pixel]
        a = given0[pixel] if known_a else extreme
        extreme = extreme if known_a else narrow(~extreme)
        b = given1[pixel] if known_b else extreme
        extreme = extreme if known_b else narrow(~extreme)
        c = given2[pixel] if known_c else extreme
        extreme = extreme if known_c else narrow(~extreme)
        d = given3[pixel] if known_d else extreme
        filling[pixel] = extreme if known_d else narrow(~extreme)
        count[pixel] += np.uint8(known_a + known_b) + np.uint8(known_c + known_d)
        a, b = min(a, b), max(a, b)
        c, d = min(c, d), max(c, d)
        a, c = min(a, c), max(a, c)
        b, d = min(b, d), max(b, d)
        first[pixel], second[pixel] = a, min(b, c)
        third[pixel], fourth[pixel] = max(b, c), d


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
