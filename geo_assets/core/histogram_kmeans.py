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

from geo_assets.core.kernels.histogram import count_values, look_up
from geo_assets.core.kernels.interval_partition import best_intervals
from geo_assets.core.strips import map_strips
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
        """Return the model of a ``to_dict``.

        Raises:
            ValueError: Shapes do not fit, or a number is none; KeyError, TypeError: it is no model.
        """
        model = cls(
            np.array(values["centers"], np.float64),
            np.array(values["boundaries"], np.int64),
            np.array(values["counts"], np.int64),
            float(values["inertia"]),
        )
        k = len(model.centers)
        if model.centers.shape != (k,) or model.boundaries.shape != (k - 1,):
            raise ValueError("boundaries: not one between each two centers")
        if not np.isfinite(model.centers).all() or (np.diff(model.boundaries) <= 0).any():
            raise ValueError("centers or boundaries: not finite, or not rising")
        return model

    def lookup(self) -> NDArray[np.uint8]:
        """Return the label of every int16 by its bits as uint16: (65536,) uint8, 0 = missing."""
        # By rising value, in which labels are runs; a search for each value takes a millisecond.
        ends = np.clip(self.boundaries - MISSING + 1, 0, _BINS)
        sizes = np.diff(ends, prepend=0, append=_BINS)
        labels = np.repeat(np.arange(1, len(sizes) + 1, dtype=np.uint8), sizes)
        labels[0] = 0  # MISSING is the least
        return np.roll(labels, MISSING)


def histogram_of(values: NDArray[np.int16], threads: int | None = None) -> NDArray[np.int64]:
    """Count quantised values: (65536,) int64, entry ``v + 32768`` counts v, missing is not counted.

    Histograms of several dates or tiles can be added to fit one model to all of them.

    Args:
        values: int16 of any shape, -32768 = missing.
        threads: None: as many as processors may be used.
    """
    bits = _bits_of(values)

    def count(start: int, stop: int) -> NDArray[np.int64]:
        counts = np.zeros(_BINS, np.int64)
        count_values(bits[start:stop], counts)
        return counts

    strips = map_strips(count, bits.size, threads=threads)
    counts: NDArray[np.int64] = np.roll(np.sum(strips, axis=0), _BINS // 2)
    counts[0] = 0
    return counts


def fit_histogram(histogram: NDArray[np.int64], n_clusters: int) -> HistogramKMeans:
    """Return the K-Means optimum of the values that a histogram counts.

    The optimum is that of Wang and Song 2011 (Ckmeans.1d.dp, doi:10.32614/RJ-2011-015), found by
    divide and conquer over the monotone starts of the last cluster (Grønlund et al. 2017,
    arXiv:1701.07204): O(K n log n) for n distinct values. Partitions are compared by exact 64-bit
    integers plus a fraction in (-K, 0] known to 1e-13 (``kernels.interval_partition``), so that
    the result is the optimum to within 1e-10 of one squared step whatever the count; its inertia
    is then computed exactly. Of equally good partitions the one whose clusters start earlier, from
    the last to the first, is taken.

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
        msg = (
            f"histogram: {total} values; allowed: fewer than {MAX_COUNT}; fit one model to fewer "
            "dates, or to a smaller area"
        )
        raise ClusteringError(msg)
    middle = int(bins[0] + bins[-1]) // 2
    sums = _prefix_sums(bins - middle, histogram[bins])
    edges = best_intervals(sums, n_clusters).tolist()
    return _model(sums, edges, middle - _BINS // 2)


def fit_values(
    values: NDArray[np.int16], n_clusters: int, threads: int | None = None
) -> HistogramKMeans:
    """Return the K-Means optimum of quantised values (int16, -32768 = missing): ``fit_histogram``.

    Raises:
        ClusteringError: As ``fit_histogram``.
    """
    return fit_histogram(histogram_of(values, threads), n_clusters)


def labels_of(
    values: NDArray[np.int16], model: HistogramKMeans, threads: int | None = None
) -> NDArray[np.uint8]:
    """Return the label of every value: uint8 in the same shape, 0 = missing, 1..K by rising centre.

    Args:
        values: int16 of any shape, -32768 = missing.
        model: A fitted model, of these values or of others in the same steps.
        threads: None: as many as processors may be used.
    """
    bits, table = _bits_of(values), model.lookup()
    labels = np.empty(bits.size, np.uint8)

    def label(start: int, stop: int) -> None:
        look_up(bits[start:stop], table, labels[start:stop])

    map_strips(label, bits.size, threads=threads)
    return labels.reshape(values.shape)


def _bits_of(values: NDArray[np.int16]) -> NDArray[np.uint16]:
    return np.ascontiguousarray(values, np.int16).view(np.uint16).ravel()


def _prefix_sums(values: NDArray[np.intp], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return sums over the first i values of counts, count x value, count x value²: (3, n + 1)."""
    sums = np.zeros((3, len(values) + 1), np.int64)
    terms = counts
    for row in sums:
        np.cumsum(terms, out=row[1:])
        terms = terms * values
    return sums


def _model(sums: NDArray[np.int64], edges: list[int], shift: int) -> HistogramKMeans:
    """Return the model of clusters between edges, in exact rational numbers up to the last step."""
    counts, centers, inertia = [], [], Fraction(0)
    for start, stop in itertools.pairwise(edges):
        count, first, second = (sums[:, stop] - sums[:, start]).tolist()
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
