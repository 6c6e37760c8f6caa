"""Exact K-Means of one quantised variable, by dynamic programming on its histogram.

Clusters of one variable are intervals of its sorted values. ``fit_histogram`` finds the K intervals
of least inertia among all of them: no start, no iteration, no seed
(docs/decisions/0002-exact-one-dimensional-k-means.md). K-Means of several variables is
``pixel_kmeans``.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MISSING = -32768
"""Value of pixels without datum; every other int16 is a datum."""

MIN_CLUSTERS, MAX_CLUSTERS = 2, 32

MAX_COUNT = 2**33
"""Values below which every sum fits 64 bits: with |value| <= 2**15 about the middle of the range,
sums of squares stay below 2**63, remainders (at most half the count) squared below 2**64."""

_BINS = 2**16
_BLOCK = 2**20


@dataclass(frozen=True, eq=False)
class HistogramKMeans:
    """The K-Means optimum of one quantised variable.

    Attributes:
        centers: (K,) float64, means of the clusters in quantisation steps, rising.
        boundaries: (K - 1,) int64; label k (from 1) holds the values v with
            ``boundaries[k - 2] < v <= boundaries[k - 1]``. Each is the greatest integer that is no
            nearer to the higher of its two centres, so that a value which the histogram did not
            hold gets the label of the nearest centre, the lower one of two.
        counts: (K,) int64, values per cluster.
        inertia: Sum of squared distances to the centres, in squared steps, correctly rounded.
    """

    centers: NDArray[np.float64]
    boundaries: NDArray[np.int64]
    counts: NDArray[np.int64]
    inertia: float

    def to_dict(self) -> dict[str, Any]:
        """Return the model as JSON values; ``from_dict`` gives back the very same model."""
        return {
            "centers": self.centers.tolist(),
            "boundaries": self.boundaries.tolist(),
            "counts": self.counts.tolist(),
            "inertia": self.inertia,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> HistogramKMeans:
        """Return the model of a ``to_dict``."""
        return cls(
            np.array(values["centers"], np.float64),
            np.array(values["boundaries"], np.int64),
            np.array(values["counts"], np.int64),
            float(values["inertia"]),
        )

    def lookup(self) -> NDArray[np.uint8]:
        """Return the label of every int16 by its bits as uint16: (65536,) uint8, 0 = missing."""
        values = np.arange(_BINS, dtype=np.uint16).view(np.int16)
        labels = (np.searchsorted(self.boundaries, values) + 1).astype(np.uint8)
        labels[values == MISSING] = 0
        return labels


def histogram_of(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """Count quantised values: (65536,) int64, entry ``v + 32768`` counts v, missing is not counted.

    Histograms of several dates or tiles can be added to fit one model to all of them.

    Args:
        values: int16 of any shape, -32768 = missing.
    """
    bits = np.ascontiguousarray(values).view(np.uint16).ravel()
    counts = np.zeros(_BINS, np.int64)
    for start in range(0, bits.size, _BLOCK):  # bincount widens its input to 64 bits
        counts += np.bincount(bits[start : start + _BLOCK], minlength=_BINS)
    counts = np.roll(counts, _BINS // 2)
    counts[0] = 0
    return counts


def fit_histogram(histogram: NDArray[np.int64], n_clusters: int) -> HistogramKMeans:
    """Return the K-Means optimum of the values that a histogram counts.

    The optimum is that of Wang and Song 2011 (Ckmeans.1d.dp, doi:10.32614/RJ-2011-015), found by
    divide and conquer over the monotone starts of the last cluster (Grønlund et al. 2017,
    arXiv:1701.07204): O(K n log n) for n distinct values. Partitions are compared by exact 64-bit
    integers plus a fraction in (-K, 0] known to 1e-13, so that the result is the optimum to within
    1e-10 of one squared step whatever the count; its inertia is then computed exactly. Of equally
    good partitions the one whose clusters start earlier, from the last to the first, is taken.

    Args:
        histogram: (65536,) int64 of ``histogram_of``, or a sum of such.
        n_clusters: K, 2 to 32.

    Raises:
        ClusteringError: If K is out of bounds or exceeds the number of distinct values, or if the
            histogram counts 2**33 values or more.
    """
    if not MIN_CLUSTERS <= n_clusters <= MAX_CLUSTERS:
        msg = f"n_clusters: {n_clusters}; allowed: {MIN_CLUSTERS} to {MAX_CLUSTERS}"
        raise ClusteringError(msg)
    bins = np.flatnonzero(histogram)
    if n_clusters > bins.size:
        msg = f"n_clusters: {n_clusters} clusters asked of {bins.size} distinct values"
        raise ClusteringError(msg)
    total = int(histogram.sum())
    if total >= MAX_COUNT:
        msg = f"histogram: {total} values; allowed: fewer than {MAX_COUNT}"
        raise ClusteringError(msg)
    middle = int(bins[0] + bins[-1]) // 2
    sums = _PrefixSums.of(bins - middle, histogram[bins])
    edges = _optimal_edges(sums, n_clusters)
    return _model(sums, edges, middle - _BINS // 2)


def fit_values(values: NDArray[np.int16], n_clusters: int) -> HistogramKMeans:
    """Return the K-Means optimum of quantised values (int16, -32768 = missing): ``fit_histogram``.

    Raises:
        ClusteringError: As ``fit_histogram``.
    """
    return fit_histogram(histogram_of(values), n_clusters)


def labels_of(values: NDArray[np.int16], model: HistogramKMeans) -> NDArray[np.uint8]:
    """Return the label of every value: uint8 in the same shape, 0 = missing, 1..K by rising centre.

    Args:
        values: int16 of any shape, -32768 = missing.
        model: A fitted model, of these values or of others in the same steps.
    """
    labels: NDArray[np.uint8] = model.lookup()[np.ascontiguousarray(values).view(np.uint16)]
    return labels


@dataclass(frozen=True, eq=False)
class _PrefixSums:
    """Exact sums over the first i distinct values: (n + 1,) int64 each.

    Attributes:
        count: Sum of the counts.
        first: Sum of count times value.
        second: Sum of count times squared value.
    """

    count: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @classmethod
    def of(cls, values: NDArray[np.intp], counts: NDArray[np.int64]) -> _PrefixSums:
        wide = values.astype(np.int64)
        moments = [np.concatenate([[0], np.cumsum(counts * wide**power)]) for power in range(3)]
        return cls(*moments)

    def cost(
        self, start: NDArray[np.intp], stop: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the inertia of the clusters [start, stop) as an integer and a fraction in (-1, 0].

        With N, S, Q the sums of a cluster, a its mean rounded to an integer and r = S - aN, its
        inertia Q - S²/N equals (Q - a(S + r)) - r²/N: the bracket is the sum of squares about a,
        exact in 64 bits where S² is not, and r²/N splits into a quotient and a remainder.
        """
        count = self.count[stop] - self.count[start]
        first = self.first[stop] - self.first[start]
        second = self.second[stop] - self.second[start]
        centre = (2 * first + count) // (2 * count)
        rest = first - centre * count
        whole = second - centre * (first + rest)
        square = np.abs(rest).astype(np.uint64) ** 2
        quotient, remainder = np.divmod(square, count.astype(np.uint64))
        return whole - quotient.astype(np.int64), -(remainder / count)


def _optimal_edges(sums: _PrefixSums, n_clusters: int) -> list[int]:
    """Return the K + 1 edges of the optimal clusters [edge, next edge) among n distinct values."""
    n = len(sums.count) - 1
    stops = np.arange(1, n + 1)
    whole, part = sums.cost(np.zeros_like(stops), stops)
    # Entry i of whole, part: least inertia of the first i + clusters values in that many clusters.
    starts_of: list[NDArray[np.intp]] = []
    for clusters in range(2, n_clusters + 1):
        whole, part, starts = _add_cluster(sums, clusters, whole, part)
        starts_of.append(starts)
    edges = [n]
    for clusters in range(n_clusters, 1, -1):
        edges.append(int(starts_of[clusters - 2][edges[-1] - clusters]))
    return [0, *reversed(edges)]


def _add_cluster(
    sums: _PrefixSums, clusters: int, whole: NDArray[np.int64], part: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.intp]]:
    """One layer of the dynamic programme: from ``clusters - 1`` clusters to ``clusters``.

    Returns for every stop from ``clusters`` to n the least inertia of the values before it (integer
    and fraction) and the start of its last cluster. That start never falls as the stop rises, so
    the starts of stops in between lie between known ones: every level of the halving looks at
    about n candidates, all at once.
    """
    n = len(sums.count) - 1
    size = n - clusters + 1
    best_whole = np.empty(size, np.int64)
    best_part = np.empty(size, np.float64)
    best_start = np.empty(size, np.intp)
    stride = 1 << (size.bit_length() - 1)
    while stride:
        level = np.arange(stride - 1, size, 2 * stride)
        low = np.full(level.size, clusters - 1)
        low[1:] = best_start[level[1:] - stride]
        high = level + clusters - 1
        inner = level + stride < size
        high[inner] = np.minimum(high[inner], best_start[level[inner] + stride])
        lengths = high - low + 1
        offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        start = np.arange(lengths.sum()) - np.repeat(offsets - low, lengths)
        cost_whole, cost_part = sums.cost(start, np.repeat(level + clusters, lengths))
        cost_whole += whole[start - clusters + 1]
        cost_part += part[start - clusters + 1]
        # Near the best candidate the difference of integers is small: the sum below is exact to
        # the last bits of the fraction, which a float of the inertia itself would not be.
        least = np.minimum.reduceat(cost_whole, offsets)
        excess = (cost_whole - np.repeat(least, lengths)) + cost_part
        is_best = excess == np.repeat(np.minimum.reduceat(excess, offsets), lengths)
        found = np.flatnonzero(is_best)
        chosen = found[np.searchsorted(found, offsets)]
        best_whole[level] = cost_whole[chosen]
        best_part[level] = cost_part[chosen]
        best_start[level] = start[chosen]
        stride //= 2
    return best_whole, best_part, best_start


def _model(sums: _PrefixSums, edges: list[int], shift: int) -> HistogramKMeans:
    """Return the model of clusters between edges, in exact rational numbers up to the last step."""
    counts, centers, inertia = [], [], Fraction(0)
    for start, stop in itertools.pairwise(edges):
        count = int(sums.count[stop] - sums.count[start])
        first = int(sums.first[stop] - sums.first[start])
        second = int(sums.second[stop] - sums.second[start])
        counts.append(count)
        centers.append(Fraction(first, count) + shift)
        inertia += second - Fraction(first**2, count)
    boundaries = [(low + high) / 2 for low, high in itertools.pairwise(centers)]
    return HistogramKMeans(
        centers=np.array([float(center) for center in centers]),
        boundaries=np.array([math.floor(boundary) for boundary in boundaries], np.int64),
        counts=np.array(counts, np.int64),
        inertia=float(inertia),
    )
