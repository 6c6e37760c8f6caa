"""From a sample of an area's pixels to the model that labels it: scales, place, K, fit.

K-Means itself is ``pixel_kmeans`` and ``lloyd``; what is said of each K is ``k_report``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from geo_assets.core.feature_scaling import Scaling, fit_scales
from geo_assets.core.k_report import KReport, k_report
from geo_assets.core.lloyd import best_centers
from geo_assets.core.pixel_kmeans import check_sample, distinct_rows, fit_pixels
from geo_assets.core.pixel_model import PixelKMeans, rising
from geo_assets.core.sampling import one_of_each_run
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geo_assets.core.pixel_model import Missing

REPORT_SAMPLE = 20_000
"""Pixels of a sample that a K report looks at: each K is fitted to them several times."""

LARGEST = 1e18
"""Scales that a value may lie from the middle of its feature: squares of more leave float32."""

_REPORT_STARTS = 10
_MAX_ITERATIONS = 300
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class FitRules:
    """How a model is fitted."""

    n_clusters: int | Literal["auto"]
    k_range: tuple[int, int]
    scaling: Scaling
    missing: Missing
    position_weight: float
    """Weight of the last two features, the place of a pixel in metres; 0: there are none."""
    seed: int
    starts: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model, and the K report where that chose K."""

    model: PixelKMeans
    report: KReport | None


def fit_labels(
    sample: NDArray[np.float32],
    rules: FitRules,
    folds: NDArray[np.bool_],
    threads: int | None = None,
    *,
    names: Sequence[str] = (),
) -> Fitted:
    """Fit the model of a sample of pixels, its K chosen by a K report where that is asked.

    Args:
        sample: (n, feature) float32, NaN where a feature is to be ignored.
        rules: How.
        folds: (n,) bool, which of two spatial folds holds a pixel.
        threads: None: as many as processors may be used. The model does not depend on it.
        names: Of the features, for messages; without, they are numbered from 1.

    Raises:
        ClusteringError: If the sample has fewer distinct pixels than clusters, their place left
            aside, or holds a value that is out of all proportion.
    """
    offsets, scales = feature_scales(sample, rules)
    _refuse_huge(sample, offsets, scales, names or range(1, sample.shape[1] + 1))
    report = None
    k = rules.n_clusters
    if k == "auto":
        if rules.position_weight:
            check_sample(sample[:, :-2], rules.k_range[0], rules.missing)
        report = _report(sample, (offsets, scales), rules, folds, threads)
        k = report.chosen
    if rules.position_weight == 0:
        model = fit_pixels(
            sample,
            k,
            scaling=rules.scaling,
            seed=rules.seed,
            missing=rules.missing,
            sample_size=max(len(sample), 1),
            n_init=rules.starts,
            threads=threads,
        )
        return Fitted(model, report)
    # Without the place, which parts pixels that are all alike: such clusters mean nothing.
    check_sample(sample[:, :-2], k, rules.missing)
    rows = _scaled(sample, offsets, scales)
    found = _centers(rows, k, rules.seed, rules.starts, threads, placed=True)
    model = PixelKMeans.of(
        found,
        offsets=offsets,
        scales=scales,
        scaling=rules.scaling,
        missing=rules.missing,
        seed=rules.seed,
        sample=np.ascontiguousarray(sample.T),
        placed=True,
        threads=threads,
    )
    # Labels rise with the values of their centres, wherever these lie.
    order = rising(model.centers[:, :-2])
    ordered = replace(
        model, centers=model.centers[order], scaled_centers=model.scaled_centers[order]
    )
    return Fitted(ordered, report)


def feature_scales(
    sample: NDArray[np.float32], rules: FitRules
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offset and scale (feature,) of each feature of a sample (n, feature).

    The place of a pixel has one scale for both axes. With weight 1 the scaled places of the sample
    have in all the variance that its scaled values have in all: both count alike; with weight w,
    w² times as much.
    """
    rows = np.ascontiguousarray(sample.T)
    if rules.position_weight == 0:
        return fit_scales(rows, rules.scaling)
    values, place = rows[:-2], rows[-2:].astype(np.float64)
    offsets, scales = fit_scales(values, rules.scaling)
    scaled = (values - offsets[:, np.newaxis]) / scales[:, np.newaxis]
    known = np.isfinite(scaled).any(axis=1)
    of_values = float(np.nanvar(scaled[known], axis=1).sum()) if known.any() else 0.0
    of_place = float(place.var(axis=1).sum())
    # Pixels that are all alike, or all in one place, leave nothing to weigh.
    alike = of_values == 0 or of_place == 0
    scale = 1.0 if alike else (of_place / of_values) ** 0.5 / rules.position_weight
    middle = place.mean(axis=1) if place.size else np.zeros(2)
    return np.concatenate([offsets, middle]), np.concatenate([scales, [scale, scale]])


def _refuse_huge(
    sample: NDArray[np.float32],
    offsets: NDArray[np.float64],
    scales: NDArray[np.float64],
    names: Sequence[object],
) -> None:
    for values, offset, scale, name in zip(sample.T, offsets, scales, names, strict=True):
        huge = values[np.abs(values - offset) > LARGEST * scale]
        if huge.size:
            msg = (
                f"feature {name}: holds {huge[0]:g}, more than {LARGEST:g} scales ({scale:g}) from "
                f"the middle ({offset:g}): no measured value; mark it as no data"
            )
            raise ClusteringError(msg)


def _report(
    sample: NDArray[np.float32],
    scales: tuple[NDArray[np.float64], NDArray[np.float64]],
    rules: FitRules,
    folds: NDArray[np.bool_],
    threads: int | None,
) -> KReport:
    """Return the K report of some of the pixels; of those alone of which everything is known.

    Raises:
        ClusteringError: If there are none, or too few distinct ones.
    """
    known = np.flatnonzero(np.isfinite(sample).all(axis=1))
    if known.size == 0:
        raise ClusteringError(
            f"n_clusters: auto looks at pixels without missing features, and of {len(sample)} "
            "there is none; state K"
        )
    count = min(REPORT_SAMPLE, known.size)
    # Drawn at random: every tenth pixel of an ordered sample may be those of half the area.
    some = known[one_of_each_run(known.size, count, np.random.default_rng(rules.seed))]

    def fit(part: NDArray[np.float64], k: int, seed: int) -> NDArray[np.float64]:
        rows = np.ascontiguousarray(part.T.astype(np.float32))
        return _centers(rows, k, seed, _REPORT_STARTS, threads)

    least, most = rules.k_range
    if rules.position_weight:
        # The place would part pixels that are alike; there are as many clusters as values at most.
        most = max(least, min(most, distinct_rows(sample[some][:, :-2])))
    scaled = _scaled(sample[some], *scales).T
    return k_report(scaled, (least, most), rules.seed, fit, folds=folds[some])


def _scaled(
    sample: NDArray[np.float32], offsets: NDArray[np.float64], scales: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return a sample (n, feature) scaled, as (feature, n)."""
    rows = np.array(sample.T, np.float32, order="C")
    rows -= offsets.astype(np.float32)[:, np.newaxis]
    rows /= scales.astype(np.float32)[:, np.newaxis]
    return rows


def _centers(
    rows: NDArray[np.float32],
    k: int,
    seed: int,
    starts: int,
    threads: int | None,
    *,
    placed: bool = False,
) -> NDArray[Any]:
    found = best_centers(
        rows,
        k,
        seed=seed,
        n_init=starts,
        max_iter=_MAX_ITERATIONS,
        tol=_TOLERANCE,
        placed=placed,
        threads=threads,
    )
    return found.values
