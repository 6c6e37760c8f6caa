"""The best cut of sorted values into K intervals: the dynamic programme of one-variable K-Means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 2.0**-48
"""Twice the bound of the error of an inertia computed in float64, relative to the sum of all
squares: 2 x 16 roundings of 2**-53 each; there are about fourteen. (Counts and sums of values stay
below 2**53, see ``histogram_kmeans.MAX_COUNT``: in float64 they are exact.)"""

_FRACTION = 1e-9
"""More than what the fractions of exact inertias may lack, in squared steps."""


@kernel
def interval_cost(sums: NDArray[np.int64], start: int, stop: int) -> tuple[int, float]:
    """Return the inertia of the values [start, stop) as an integer and a fraction in (-1, 0].

    With N, S, Q the sums of a cluster, a its mean rounded to an integer and r = S - aN, its
    inertia Q - S²/N equals (Q - a(S + r)) - r²/N: the bracket is the sum of squares about a,
    exact in 64 bits where S² is not, and r²/N splits into a quotient and a remainder.
    """
    n = sums[0, stop] - sums[0, start]
    s = sums[1, stop] - sums[1, start]
    q = sums[2, stop] - sums[2, start]
    centre = (2 * s + n) // (2 * n)
    rest = s - centre * n
    size = np.uint64(abs(rest))
    square = size * size
    quotient = square // np.uint64(n)
    remainder = square - quotient * np.uint64(n)
    whole = q - centre * (s + rest) - np.int64(quotient)
    return whole, -(np.float64(remainder) / np.float64(n))


@kernel
def _best_start(  # noqa: PLR0917  # positional, as compiled functions are called
    sums: NDArray[np.int64],
    floats: NDArray[np.float64],
    whole: NDArray[np.int64],
    part: NDArray[np.float64],
    rough: NDArray[np.float64],
    low: int,
    high: int,
    stop: int,
    slack: float,
    sifted: NDArray[np.float64],
) -> tuple[int, np.int64, float]:
    """Return where the last cluster of the first ``stop`` values best starts, from low to high.

    Of equally good starts the first. Also returned is the least inertia, integer and fraction.
    ``floats`` are ``sums`` in float64, which vector instructions take. ``whole``, ``part`` and
    ``rough`` (n + 1,) are the least inertia of the first i values in one cluster less: its integer,
    its fraction, and both in float64; ``slack`` is how much the float64 of the best may exceed that
    of another; ``sifted`` (n + 1,) is room to work in.
    """
    candidates = slice(low, high + 1)
    count, first, second = floats[0, candidates], floats[1, candidates], floats[2, candidates]
    before, room = rough[candidates], sifted[candidates]
    n, s, q = floats[0, stop], floats[1, stop], floats[2, stop]
    for i in range(len(room)):
        total = s - first[i]
        room[i] = before[i] + ((q - second[i]) - total * total / (n - count[i]))
    least = room[0]
    for i in range(1, len(room)):
        least = min(least, room[i])
    best, best_whole, best_part = -1, np.int64(0), 0.0
    for start in range(low, high + 1):
        if sifted[start] <= least + slack:
            more_whole, more_part = interval_cost(sums, start, stop)
            more_whole += whole[start]
            more_part += part[start]
            # Integers first: where it matters their difference is small, and exact.
            excess = np.float64(more_whole - best_whole) + (more_part - best_part)
            if best < 0 or excess < 0:
                best, best_whole, best_part = start, more_whole, more_part
    return best, best_whole, best_part


@kernel
def best_intervals(sums: NDArray[np.int64], n_clusters: int) -> NDArray[np.int64]:
    """Return the K + 1 edges of the intervals [edge, next edge) of least inertia.

    Entry i of a layer is the least inertia of the first i values in so many clusters, and the
    start of the last of them. That start never falls as i rises, so that the starts of stops in
    between lie between known ones: each level of the halving looks at about n candidates.
    Candidates are sifted by inertias in float64; those that its rounding cannot tell from the
    least are compared by exact integers and fractions.

    Args:
        sums: (3, n + 1) int64, sums over the first i distinct values of their counts, of count
            times value and of count times squared value, the last below 2**63.
        n_clusters: K, 2 to n.
    """
    n = sums.shape[1] - 1
    floats = sums.astype(np.float64)
    whole, part = np.zeros(n + 1, np.int64), np.zeros(n + 1)
    for stop in range(1, n + 1):
        whole[stop], part[stop] = interval_cost(sums, 0, stop)
    next_whole, next_part = np.zeros(n + 1, np.int64), np.zeros(n + 1)
    starts = np.zeros((n_clusters + 1, n + 1), np.int32)
    rough, sifted = np.zeros(n + 1), np.zeros(n + 1)
    slack = _ROUNDING * np.float64(sums[2, n]) + _FRACTION
    for clusters in range(2, n_clusters + 1):
        start_of = starts[clusters]
        for i in range(n + 1):
            rough[i] = np.float64(whole[i]) + part[i]
        size = n - clusters + 1
        stride = 1
        while 2 * stride <= size:
            stride *= 2
        if clusters == n_clusters:
            stride = size  # of the last layer nothing but its last stop is asked for
        while stride:
            for stop in range(stride + clusters - 1, n + 1, 2 * stride):
                known = clusters < n_clusters
                low = start_of[stop - stride] if known and stop - stride >= clusters else 0
                high = start_of[stop + stride] if known and stop + stride <= n else n
                start_of[stop], next_whole[stop], next_part[stop] = _best_start(
                    sums,
                    floats,
                    whole,
                    part,
                    rough,
                    max(low, clusters - 1),
                    min(high, stop - 1),
                    stop,
                    slack,
                    sifted,
                )
            stride = stride // 2 if clusters < n_clusters else 0
        whole, next_whole = next_whole, whole
        part, next_part = next_part, part
    edges = np.zeros(n_clusters + 1, np.int64)
    edges[n_clusters] = n
    for clusters in range(n_clusters, 1, -1):
        edges[clusters - 1] = starts[clusters, edges[clusters]]
    return edges
