"""K-Means of pixels by several features: fitted on a sample, assigned to every pixel in blocks.

Scaling, order of labels and assignment are plain elementwise arithmetic, so that labels depend
neither on the size of blocks, nor on the number of threads, nor on a linear algebra library.
K-Means of one variable is exact and lives in ``histogram_kmeans``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from geo_assets.core.feature_scaling import Scaling, fit_scales
from geo_assets.core.lloyd import best_centers
from geo_assets.core.pixel_model import Missing, PixelKMeans
from geo_assets.core.sampling import one_of_each_run
from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MAX_CLUSTERS",
    "MIN_CLUSTERS",
    "Missing",
    "PixelKMeans",
    "Scaling",
    "assign",
    "fit_pixels",
    "label_block",
    "label_raster",
]

MIN_CLUSTERS, MAX_CLUSTERS = 2, 32


def fit_pixels(
    samples: NDArray[Any],
    n_clusters: int,
    *,
    scaling: Scaling,
    seed: int,
    missing: Missing = "fill",
    sample_size: int = 50_000,
    n_init: int = 20,
    max_iter: int = 300,
    tol: float = 1e-4,
    threads: int | None = None,
) -> PixelKMeans:
    """Fit K-Means (``lloyd``: several k-means++ starts) to a sample of pixels.

    Args:
        samples: (n, feature), integer or float; best drawn by ``sampling``. Nothing is missing;
            with ``missing="ignore"`` some features of a pixel may be NaN. Then centres are the
            means of what is known, and distances are taken over it.
        n_clusters: K, 2 to 32.
        scaling: See ``Scaling``. A feature whose interquartile range is 0 takes its standard
            deviation instead, a constant one the scale 1.
        seed: Seed of the sample and of the starts.
        missing: See ``Missing``.
        sample_size: Of more samples this many are used, one of each run of equal length.
        n_init: Starts, the best of which counts.
        max_iter: Iterations of a start at most.
        tol: Tolerance relative to the mean variance of features, as scikit-learn's.
        threads: None: as many as processors may be used. The model does not depend on it.

    Raises:
        ClusteringError: If a parameter is out of bounds, a sample is missing or infinite, or K
            exceeds the number of distinct samples.
    """
    if not MIN_CLUSTERS <= n_clusters <= MAX_CLUSTERS:
        msg = f"n_clusters: {n_clusters}; allowed: {MIN_CLUSTERS} to {MAX_CLUSTERS}"
        raise ClusteringError(msg)
    if n_init < 1:
        msg = f"n_init: {n_init} starts; allowed: 1 or more"
        raise ClusteringError(msg)
    if samples.ndim != 2 or samples.shape[1] == 0:
        msg = f"samples: shape {samples.shape}; needed: (n, feature) with at least one feature"
        raise ClusteringError(msg)
    drawn = one_of_each_run(len(samples), sample_size, np.random.default_rng(seed))
    sample = samples[drawn].astype(np.float32)
    check_sample(sample, n_clusters, missing)
    # Always a copy, for it is scaled in place; the transpose of one feature would be none.
    rows = np.array(sample.T, order="C")
    offsets, scales = fit_scales(rows, scaling)
    rows -= offsets.astype(np.float32)[:, np.newaxis]
    rows /= scales.astype(np.float32)[:, np.newaxis]
    found = best_centers(
        rows, n_clusters, seed=seed, n_init=n_init, max_iter=max_iter, tol=tol, threads=threads
    )
    return PixelKMeans.of(
        found.values,
        offsets=offsets,
        scales=scales,
        scaling=scaling,
        missing=missing,
        seed=seed,
        sample=np.ascontiguousarray(sample.T),
        threads=threads,
    )


def assign(
    model: PixelKMeans, samples: NDArray[Any], threads: int | None = None
) -> NDArray[np.uint8]:
    """Return the label of each pixel's nearest centre (scaled Euclidean distance), in blocks.

    Args:
        model: A fitted model.
        samples: (n, feature), in units and order of the features the model was fitted on.
        threads: None: as many as processors may be used.

    Returns:
        (n,) uint8: 1..K, of two equally near centres the lower label; 0 where a feature is NaN
        (with ``missing="ignore"`` where all are) or infinite.

    Raises:
        ClusteringError: If the number of features is another than the model's.
    """
    labels, _ = model.assign(samples.T, np.ones(len(samples), bool), threads)
    return labels


def label_block(
    model: PixelKMeans, features: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], float]:
    """Return labels and inertia of one block, in the thread of the caller: ``label_raster``.

    Labels do not depend on how an image is cut into blocks; inertias add up to that of the image
    but for the last digits, the same in every run if they are added in the order of blocks.
    """
    return label_raster(model, features, valid, threads=1)


def label_raster(
    model: PixelKMeans,
    features: NDArray[Any],
    valid: NDArray[np.bool_],
    threads: int | None = None,
) -> tuple[NDArray[np.uint8], float]:
    """Return the label raster of an image and the inertia over all its labelled pixels.

    Args:
        model: A fitted model.
        features: (feature, y, x), in units and order of the features the model was fitted on.
        valid: (y, x) bool, True = to be labelled.
        threads: None: as many as processors may be used.

    Returns:
        Labels (y, x) uint8: 0 outside ``valid``, else as ``assign``; and the sum of squared scaled
        distances to the nearest centre. With ``missing="ignore"`` a distance over the known
        features counts as if those missing were as far.

    Raises:
        ClusteringError: If the number of features is another than the model's, or shapes differ.
    """
    if valid.shape != features.shape[1:]:
        msg = f"shapes: features {features.shape}, valid {valid.shape}; (feature, y, x) and (y, x)"
        raise ClusteringError(msg)
    flat = features.reshape(len(features), valid.size)
    labels, inertia = model.assign(flat, np.ascontiguousarray(valid).ravel(), threads)
    return labels.reshape(valid.shape), inertia


def check_sample(sample: NDArray[np.float32], n_clusters: int, missing: Missing) -> None:
    """Refuse a sample (n, feature) to which K clusters cannot be fitted.

    Raises:
        ClusteringError: Features are missing or infinite, or too few samples differ.
    """
    _check_known(sample, missing)
    _check_distinct(sample, n_clusters)


def _check_known(sample: NDArray[np.float32], missing: Missing) -> None:
    if missing not in get_args(Missing):
        msg = f"missing: {missing!r} is unknown; allowed: {', '.join(get_args(Missing))}"
        raise ClusteringError(msg)
    if missing == "fill":
        bad = int(np.count_nonzero(~np.isfinite(sample).all(axis=1)))
        what = "NaN or infinite features; allowed: none"
    else:
        nothing, infinite = np.isnan(sample).all(axis=1), np.isinf(sample).any(axis=1)
        bad = int(np.count_nonzero(nothing | infinite))
        what = "no feature but NaN, or an infinite one; allowed: none"
    if bad:
        msg = f"samples: {bad} of {len(sample)} hold {what}"
        raise ClusteringError(msg)


def _check_distinct(sample: NDArray[np.float32], n_clusters: int) -> None:
    few = distinct_rows(sample[:1000])  # which nearly always is enough
    distinct = few if few >= n_clusters else distinct_rows(sample)
    if n_clusters > distinct:
        msg = f"n_clusters: {n_clusters} clusters asked of {distinct} distinct pixels"
        raise ClusteringError(msg)


def distinct_rows(rows: NDArray[np.float32]) -> int:
    """Return how many of the rows (n, feature) differ; NaN is equal to NaN, -0 to 0."""
    if len(rows) == 0:
        return 0
    # Rows compared as bytes; adding zero turns -0 into 0, the one value with two of them.
    as_bytes = np.ascontiguousarray(rows + np.float32(0)).view(f"V{rows.shape[1] * 4}")
    return int(np.unique(as_bytes).size)
