"""Choosing K: what four criteria say of each K, and the rule that picks one.

A criterion is computed on a sample; how K-Means is fitted is the caller's, so that the exact
one-variable K-Means and that of pixels by several features have the same report.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geo_assets.core.histogram_kmeans import fit_values
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Fit = Callable[[NDArray[np.float64], int, int], NDArray[np.float64]]
    """(sample (n, feature), K, seed) -> centres (K, feature)."""

SILHOUETTE_SAMPLE = 3_000
"""Samples that the silhouette is computed on: its cost grows with their square."""

RANKS = 5_000
"""Values that stand for the histograms of two folds, each by its share of them."""

SEEDS = 5
"""Fits that the stability over seeds compares."""

STABLE = 0.9
"""Least agreement (adjusted Rand) of fits that see different data, for a K to be chosen."""

LEAST_FOLD = 0.05
"""Least share of the samples in each of two folds that are compared."""

RULE = (
    f"the K of the greatest silhouette among those whose least stability is {STABLE} or more; "
    "the most stable K where none is"
)


@dataclass(frozen=True)
class KRow:
    """What is known of one K."""

    k: int
    inertia: float
    """Sum of squared distances of the sample to its centres."""
    silhouette: float
    """-1 to 1: how much nearer samples lie to their own cluster than to the next (Rousseeuw 1987,
    doi:10.1016/0377-0427(87)90125-7), on at most ``SILHOUETTE_SAMPLE`` samples."""
    calinski_harabasz: float
    """Variance between over variance within clusters, by their degrees of freedom (Calinski and
    Harabasz 1974, doi:10.1080/03610927408827101)."""
    stability_seeds: float | None
    """Mean adjusted Rand index over all pairs of ``SEEDS`` fits, each of another random half of
    the sample by another seed; None for a fit without seed."""
    stability_folds: float | None
    """Adjusted Rand index of the fits of the two folds; None where they are not compared."""

    @property
    def stability(self) -> float:
        """The lesser of both stabilities: what the rule asks for."""
        known = [s for s in (self.stability_seeds, self.stability_folds) if s is not None]
        return min(known, default=1.0)


@dataclass(frozen=True)
class KReport:
    """What is known of each K, by rising K, and which one the rule picks."""

    rows: tuple[KRow, ...]
    chosen: int
    sample_size: int
    rule: str = RULE

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "chosen": self.chosen,
            "rule": self.rule,
            "sample_size": self.sample_size,
            "rows": [{**asdict(row), "stability": row.stability} for row in self.rows],
        }


def k_report(
    sample: NDArray[np.floating[Any]],
    k_range: tuple[int, int],
    seed: int,
    fit: Fit,
    *,
    folds: NDArray[np.bool_] | None = None,
    seeds: int = SEEDS,
) -> KReport:
    """Return the report on every K of a range, and the K that ``RULE`` picks.

    Args:
        sample: (n, feature), scaled as it is to be clustered, nothing missing.
        k_range: Least and greatest K; the greatest is lowered to the distinct samples of the
            smallest half that is fitted.
        seed: Seed of the halves, of the silhouette's sample and of the fits.
        fit: Returns the centres of a sample for a K and a seed.
        folds: (n,) bool, which of two spatial folds of the area holds a sample (``spatial_folds``);
            not compared where one has fewer than ``LEAST_FOLD`` of the samples, or fewer distinct
            ones than the greatest K: a fold never lowers K.
        seeds: Fits compared for the stability over seeds; 0 for a fit without seed.

    Raises:
        ClusteringError: If not even the least K can be fitted to each part.
    """
    values = np.asarray(sample, np.float64)
    rng = np.random.default_rng(seed)
    halves = [np.sort(rng.permutation(len(values))[: len(values) // 2]) for _ in range(seeds)]
    shown = np.sort(rng.permutation(len(values))[:SILHOUETTE_SAMPLE])
    parts = [values[half] for half in halves]
    most = min((len(np.unique(part, axis=0)) for part in [values, *parts]), default=0)
    # A silhouette wants fewer clusters than samples.
    last = min(k_range[1], most, len(shown) - 1)
    if last < k_range[0]:
        msg = (
            f"k_range: {k_range[0]} to {k_range[1]} clusters asked of {most} distinct samples "
            "(in the smallest part of which the stability is taken)"
        )
        raise ClusteringError(msg)
    if folds is not None:
        of_folds = [values[~folds], values[folds]]
        # A handful of pixels in one fold, or none, says nothing of stability.
        if all(
            len(part) >= LEAST_FOLD * len(values) and len(np.unique(part, axis=0)) >= last
            for part in of_folds
        ):
            parts += of_folds
    rows = []
    for k in range(k_range[0], last + 1):
        labels, inertia = nearest_centres(values, fit(values, k, seed))
        fits = [
            nearest_centres(values, fit(part, k, seed + number))[0]
            for number, part in enumerate(parts, start=1)
        ]
        rows.append(
            KRow(
                k,
                inertia,
                *_shape(values, labels, shown),
                stability_seeds=_agreement(fits[:seeds]),
                stability_folds=_agreement(fits[seeds:]),
            )
        )
    return KReport(tuple(rows), choose_k(rows), len(values))


def histogram_report(histograms: NDArray[np.int64], k_range: tuple[int, int]) -> KReport:
    """Return the report on the exact K-Means of one quantised variable.

    Each fold is stood for by its values at evenly spaced ranks, as many as its share of the pixels
    is. Where these are fewer different ones than the least K, the most frequent of the others stand
    beside them, once each: a pond in a meadow may lie between all ranks. There is no stability over
    seeds, for the exact fit has none.

    Args:
        histograms: (2, 65536) int64, ``histogram_of`` of each of two spatial folds.
        k_range: As for ``k_report``.

    Raises:
        ClusteringError: As ``k_report``.
    """
    pixels = histograms.sum(axis=1)
    shares = pixels / max(int(pixels.sum()), 1)
    parts = [
        _ranked(histogram, round(RANKS * float(share)))
        for histogram, share in zip(histograms, shares, strict=True)
    ]
    parts = _with_lost(parts, histograms, k_range[0])
    folds = np.repeat([False, True], [len(part) for part in parts])
    return k_report(np.concatenate(parts)[:, np.newaxis], k_range, 0, _exact, folds=folds, seeds=0)


def choose_k(rows: list[KRow]) -> int:
    """Return the K that ``RULE`` picks; of equally good ones the least."""
    stable = [row for row in rows if row.stability >= STABLE]
    if stable:
        return max(stable, key=lambda row: (row.silhouette, -row.k)).k
    return max(rows, key=lambda row: (row.stability, -row.k)).k


def nearest_centres(
    sample: NDArray[np.float64], centers: NDArray[np.float64]
) -> tuple[NDArray[np.intp], float]:
    """Return the nearest centre (n,) of each sample, counted from 0, and the inertia."""
    distances = np.stack([((sample - center) ** 2).sum(axis=1) for center in centers])
    labels: NDArray[np.intp] = distances.argmin(axis=0)
    return labels, float(distances.min(axis=0).sum())


def spatial_folds(
    rows: NDArray[np.integer[Any]],
    cols: NDArray[np.integer[Any]],
    shape: tuple[int, int],
    cells: int = 4,
) -> NDArray[np.bool_]:
    """Return which of two folds holds a pixel: the colours of a chessboard of 4 x 4 cells.

    Both folds see every part of the area, and no pixel has its neighbours in the other fold but
    along the edges of cells.

    Args:
        rows: (n,) row of each pixel in the area.
        cols: (n,) its column.
        shape: Rows and columns of the area.
        cells: Cells along each side.
    """
    row = np.asarray(rows, np.int64) * cells // max(shape[0], 1)
    col = np.asarray(cols, np.int64) * cells // max(shape[1], 1)
    fold: NDArray[np.bool_] = (row + col) % 2 == 1
    return fold


def _ranked(histogram: NDArray[np.int64], most: int) -> NDArray[np.float64]:
    """Return the values at evenly spaced ranks of what a histogram counts; all if they are few."""
    ends = np.cumsum(histogram)
    count = min(int(ends[-1]), most)
    ranks = (np.arange(count) * 2 + 1) * int(ends[-1]) // max(2 * count, 1)
    bins = np.searchsorted(ends, ranks, side="right")
    return (bins - histogram.size // 2).astype(np.float64)


def _with_lost(
    parts: list[NDArray[np.float64]], histograms: NDArray[np.int64], least: int
) -> list[NDArray[np.float64]]:
    """Return the values of each fold, of which ``least`` differ if as many do in the histograms."""
    counts = histograms.sum(axis=0)
    middle = counts.size // 2
    found = np.unique(np.concatenate(parts))
    counts[found.astype(np.intp) + middle] = 0
    frequent = np.argsort(-counts, kind="stable")[: max(least - found.size, 0)]
    lost = frequent[counts[frequent] > 0]
    # Each in the fold that has the more of it.
    holder = histograms[:, lost].argmax(axis=0)
    return [
        np.concatenate([part, lost[holder == fold] - float(middle)])
        for fold, part in enumerate(parts)
    ]


def _exact(sample: NDArray[np.float64], k: int, _seed: int) -> NDArray[np.float64]:
    return fit_values(sample[:, 0].astype(np.int16), k).centers[:, np.newaxis]


def _shape(
    values: NDArray[np.float64], labels: NDArray[np.intp], shown: NDArray[np.intp]
) -> tuple[float, float]:
    """Return silhouette and Calinski-Harabasz index, as scikit-learn computes them."""
    from sklearn.metrics import calinski_harabasz_score, silhouette_score

    few = labels[shown]
    # A small cluster may have no pixel among the few; one cluster alone has no silhouette.
    known = 2 <= np.unique(few).size < len(few)
    silhouette = float(silhouette_score(values[shown], few)) if known else -1.0
    return silhouette, float(calinski_harabasz_score(values, labels))


def _agreement(fits: list[NDArray[np.intp]]) -> float | None:
    """Return the mean adjusted Rand index over all pairs (Hubert and Arabie 1985); None of none."""
    from sklearn.metrics import adjusted_rand_score

    pairs = [adjusted_rand_score(a, b) for a, b in itertools.combinations(fits, 2)]
    return float(np.mean(pairs)) if pairs else None
