"""Lloyd's K-Means on a sample of scaled pixels, from several starts.

Arrays in, centres out; scales, models and rasters are ``pixel_kmeans``'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.assignment import STRIP, label_pixels
from geo_assets.core.kernels.starting_centers import plus_plus
from geo_assets.core.pixel_assignment import PLACE, shared_features
from geo_assets.core.sampling import one_of_each_run
from geo_assets.core.workers import Threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCREENED = 2_000
"""Pixels for each cluster on which starts are run at first. On fewer, small clusters (bright roofs,
say) are too few to be found."""

FINALISTS = 4
"""Starts that go on with all pixels: those whose centres leave the least inertia of them all, no
two in the same place. By the inertia of the few, in which rare pixels are too many or too few, the
best start was not among four in every fifth fit of land cover."""

_SAME_PLACE = 0.01
"""Centres are the same if squared differences sum to less, as a share of the mean variance."""


@dataclass(frozen=True, eq=False)
class Centers:
    """Where a fit ended.

    Attributes:
        values: (K, feature) float64.
        inertia: Sum of squared distances over the known features: what the fit makes least. With
            the place of pixels, those over some of the values are scaled to all of them.
    """

    values: NDArray[np.float64]
    inertia: float


def best_centers(
    scaled: NDArray[np.float32],
    n_clusters: int,
    *,
    seed: int,
    n_init: int,
    max_iter: int,
    tol: float,
    placed: bool = False,
    threads: int | None = None,
) -> Centers:
    """Return the centres of least inertia that greedy k-means++ starts lead to.

    Each start has random numbers of its own and runs in one thread, so that the answer depends on
    the seed alone. Starts run on ``SCREENED`` pixels a cluster, spread over the sample; the few
    that fit all of it best go on with all of it.

    Args:
        scaled: (feature, n) float32, NaN where a feature is to be ignored. Centres are the means
            of what is known (k-POD, Chi et al. 2016, doi:10.1080/00031305.2015.1086685).
        n_clusters: K, at most the number of distinct pixels.
        seed: Seed of the starts.
        n_init: Starts.
        max_iter: Iterations of each at most.
        tol: A fit ends when its centres moved by less than this share of the mean variance of
            features (squared), as scikit-learn's, or when no label changed.
        placed: Whether the last two features are the place of a pixel, which is always known.
            Distances over some of the other ones are scaled to all of these before that of the
            place is added, or a pixel of few values would be told by its place alone. Centres
            are plain means all the same.
        threads: None: as many as processors may be used.
    """
    known = ~np.isnan(scaled)
    counts = np.maximum(known.sum(axis=1), 1)
    means = np.sum(scaled, axis=1, where=known, dtype=np.float64) / counts
    difference = scaled - means.astype(np.float32)[:, np.newaxis]
    difference *= difference
    variance = float((np.sum(difference, axis=1, where=known, dtype=np.float64) / counts).mean())
    few = scaled
    screened = SCREENED * n_clusters
    if scaled.shape[1] > screened:
        # Drawn at random: every fifth pixel of a sample in raster order may be columns of an image.
        rng = np.random.default_rng(seed)
        few = np.ascontiguousarray(scaled[:, one_of_each_run(scaled.shape[1], screened, rng)])

    def start(number: int) -> Centers:
        rng = np.random.default_rng([seed, number])
        first = np.empty((n_clusters, len(few)), np.float32)
        draws = rng.random((n_clusters, trials))
        if placed:
            plus_plus(few, means.astype(np.float32), draws, first, _weights(few))
        else:
            plus_plus(few, means.astype(np.float32), draws, first)
        return _lloyd(few, first.astype(np.float64), max_iter, tol * variance, placed=placed)

    def look(begun: Centers) -> Centers:
        return _lloyd(scaled, begun.values, 0, 0.0, placed=placed)

    def finish(begun: Centers) -> Centers:
        return _lloyd(scaled, begun.values, max_iter, tol * variance, placed=placed)

    trials = 2 + int(np.log(n_clusters))
    pool = Threads(threads)
    ends = sorted(pool.map(start, range(n_init)), key=lambda end: end.inertia)
    if few is not scaled:
        distinct = pool.map(look, _distinct(ends, _SAME_PLACE * variance))
        best = sorted(distinct, key=lambda end: end.inertia)[:FINALISTS]
        ends = list(pool.map(finish, best))
    return min(ends, key=lambda end: end.inertia)


def _distinct(ends: list[Centers], limit: float) -> list[Centers]:
    """Return the first of those that ended in the same place, whatever the order of centres."""
    chosen: list[Centers] = []
    places: list[NDArray[np.float64]] = []
    for end in ends:
        place = end.values[np.argsort(end.values.mean(axis=1))]
        if all(float(np.square(place - other).sum()) > limit for other in places):
            chosen.append(end)
            places.append(place)
    return chosen


def _lloyd(
    scaled: NDArray[np.float32],
    centers: NDArray[np.float64],
    max_iter: int,
    limit: float,
    *,
    placed: bool = False,
) -> Centers:
    """Move centres to the means of their pixels until they rest."""
    features, n = scaled.shape
    everywhere = np.ones(n, bool)
    offsets, scales = np.zeros(features, np.float32), np.ones(features, np.float32)
    labels, before = np.zeros(n, np.uint8), np.zeros(n, np.uint8)
    inertias = np.empty((-(-n // STRIP), 2))
    shared, place = shared_features(centers.astype(np.float32), placed=placed)

    def label(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
        label_pixels(
            scaled,
            everywhere,
            offsets,
            scales,
            centers.astype(np.float32),
            True,
            shared,
            place,
            0,
            n,
            labels,
            inertias,
            sums,
            counts,
        )

    for _ in range(max_iter):
        sums, counts = np.zeros(centers.shape), np.zeros(centers.shape, np.int64)
        label(sums, counts)
        moved = np.divide(sums, counts, out=centers.copy(), where=counts > 0)
        _fill_empty(moved, scaled, labels, counts, placed=placed)
        shift = float(np.square(moved - centers).sum())
        resting = bool((labels == before).all())
        centers = moved
        if resting or shift <= limit:
            break
        labels, before = before, labels
    label(np.zeros((0, 0)), np.zeros((0, 0), np.int64))
    return Centers(centers, float(inertias[:, 0].sum()))


def _fill_empty(
    centers: NDArray[np.float64],
    scaled: NDArray[np.float32],
    labels: NDArray[np.uint8],
    counts: NDArray[np.int64],
    *,
    placed: bool,
) -> None:
    """Move centres without pixels to those that are farthest from theirs, as scikit-learn does."""
    empty = np.flatnonzero(~counts.any(axis=1))
    if empty.size == 0:
        return
    difference = scaled.T - centers[labels.astype(np.intp) - 1]
    difference *= difference
    if placed:
        difference[:, :-PLACE] *= _weights(scaled)[:, np.newaxis]
    distances = np.nansum(difference, axis=1)
    distances[labels == 0] = -1
    farthest = np.argsort(-distances, kind="stable")[: empty.size]
    rows = scaled[:, farthest].T
    centers[empty] = np.where(np.isnan(rows), centers[empty], rows)


def _weights(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by how much distances over the known values of pixels (feature, n) are scaled: (n,).

    0 where no value is known. The place, which is no value, are the last two features.
    """
    known = np.count_nonzero(~np.isnan(scaled[:-PLACE]), axis=0)
    weights = np.zeros(known.shape, np.float32)
    np.divide(len(scaled) - PLACE, known, out=weights, where=known > 0, casting="same_kind")
    return weights
