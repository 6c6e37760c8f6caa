"""K-Means of pixels by several features: fitted on a sample, assigned to every pixel in blocks.

Scaling, order of labels and assignment are plain elementwise arithmetic, so that labels depend
neither on the size of blocks nor on a linear algebra library; the fit is scikit-learn's. K-Means of
one variable is exact and lives in ``histogram_kmeans``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scaling = Literal["none", "standard", "robust", "common-robust"]
"""What makes features comparable: nothing; mean and standard deviation of each; median and
interquartile range of each; median and interquartile range of all together. Bands of land cover
need a scale each, or the brightest rules; a time series needs one common scale, or a date without
contrast weighs as much as the height of summer."""

MIN_CLUSTERS, MAX_CLUSTERS = 2, 32

_BLOCK = 2**15
"""Pixels assigned at once: a block of a few dozen features stays in the cache."""

_CELLS = 32
"""Cells a side of the coarse grid over which a sample is spread."""


@dataclass(frozen=True, eq=False)
class PixelKMeans:
    """A fitted model; label k (from 1) is the k-th centre.

    Attributes:
        centers: (K, feature) float64 in units of the features. Ordered by their mean over the
            features, rising; of equal means, by the first feature that differs.
        scaled_centers: (K, feature) float32, what scaled pixels are compared with.
        offsets: (feature,) float64, subtracted from a feature before its division by the scale.
        scales: (feature,) float64.
        scaling: How offsets and scales were found.
        seed: Seed of the fit.
        sample_size: Pixels the model was fitted on.
        sample_inertia: Their sum of squared scaled distances to the nearest centre.
    """

    centers: NDArray[np.float64]
    scaled_centers: NDArray[np.float32]
    offsets: NDArray[np.float64]
    scales: NDArray[np.float64]
    scaling: Scaling
    seed: int
    sample_size: int
    sample_inertia: float

    def to_dict(self) -> dict[str, Any]:
        """Return the model as JSON values; ``from_dict`` gives back the very same model."""
        return {
            "centers": self.centers.tolist(),
            "scaled_centers": self.scaled_centers.tolist(),
            "offsets": self.offsets.tolist(),
            "scales": self.scales.tolist(),
            "scaling": self.scaling,
            "seed": self.seed,
            "sample_size": self.sample_size,
            "sample_inertia": self.sample_inertia,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PixelKMeans:
        """Return the model of a ``to_dict``."""
        return cls(
            centers=np.array(values["centers"], np.float64),
            scaled_centers=np.array(values["scaled_centers"], np.float32),
            offsets=np.array(values["offsets"], np.float64),
            scales=np.array(values["scales"], np.float64),
            scaling=values["scaling"],
            seed=int(values["seed"]),
            sample_size=int(values["sample_size"]),
            sample_inertia=float(values["sample_inertia"]),
        )


def spread_sample(valid: NDArray[np.bool_], size: int, seed: int) -> NDArray[np.int64]:
    """Draw valid pixels evenly over an image: every part gives pixels by its share of valid ones.

    The valid pixels, taken cell by cell of a 32 x 32 grid, are divided into ``size`` runs of equal
    length (to one pixel); one pixel of each run is drawn.

    Args:
        valid: (y, x) bool, True = may be drawn.
        size: Pixels to draw; all valid ones if there are no more.
        seed: Seed.

    Returns:
        Rising flat indices into the image, each at most once.
    """
    row_edges = np.arange(_CELLS + 1) * valid.shape[0] // _CELLS
    col_edges = np.arange(_CELLS + 1) * valid.shape[1] // _CELLS
    cells = [
        (slice(row_edges[i], row_edges[i + 1]), slice(col_edges[j], col_edges[j + 1]))
        for i in range(_CELLS)
        for j in range(_CELLS)
    ]
    ends = np.cumsum([np.count_nonzero(valid[cell]) for cell in cells])
    positions = _one_of_each_run(int(ends[-1]), size, np.random.default_rng(seed))
    chosen = []
    for cell, start, stop in zip(cells, np.r_[0, ends[:-1]], ends, strict=True):
        first, last = np.searchsorted(positions, [start, stop])
        if first < last:
            rows, cols = np.nonzero(valid[cell])
            inside = positions[first:last] - start
            flat = (rows[inside] + cell[0].start) * valid.shape[1] + cols[inside] + cell[1].start
            chosen.append(flat)
    return np.sort(np.concatenate(chosen)).astype(np.int64) if chosen else np.zeros(0, np.int64)


def fit_pixels(
    samples: NDArray[Any],
    n_clusters: int,
    *,
    scaling: Scaling,
    seed: int,
    sample_size: int = 50_000,
    n_init: int = 10,
    max_iter: int = 300,
    tol: float = 1e-4,
) -> PixelKMeans:
    """Fit K-Means (Lloyd, k-means++ starts, scikit-learn) to a sample of pixels.

    Args:
        samples: (n, feature), integer or float, nothing missing; best drawn by ``spread_sample``.
        n_clusters: K, 2 to 32.
        scaling: See ``Scaling``. A feature whose interquartile range is 0 takes its standard
            deviation instead, a constant one the scale 1.
        seed: Seed of the sample and of the starts.
        sample_size: Of more samples this many are used, one of each run of equal length.
        n_init: Starts, the best of which counts.
        max_iter: Iterations of a start at most.
        tol: Relative tolerance of scikit-learn.

    Raises:
        ClusteringError: If a parameter is out of bounds, a sample is missing or infinite, or K
            exceeds the number of distinct samples.
    """
    if not MIN_CLUSTERS <= n_clusters <= MAX_CLUSTERS:
        msg = f"n_clusters: {n_clusters}; allowed: {MIN_CLUSTERS} to {MAX_CLUSTERS}"
        raise ClusteringError(msg)
    if samples.ndim != 2 or samples.shape[1] == 0:
        msg = f"samples: shape {samples.shape}; needed: (n, feature) with at least one feature"
        raise ClusteringError(msg)
    drawn = _one_of_each_run(len(samples), sample_size, np.random.default_rng(seed))
    sample = samples[drawn].astype(np.float32)
    bad = int(np.count_nonzero(~np.isfinite(sample).all(axis=1)))
    if bad:
        msg = f"samples: {bad} of {len(sample)} hold NaN or infinite features; allowed: none"
        raise ClusteringError(msg)
    distinct = _distinct_rows(sample)
    if n_clusters > distinct:
        msg = f"n_clusters: {n_clusters} clusters asked of {distinct} distinct pixels"
        raise ClusteringError(msg)
    offsets, scales = _scaler(sample.astype(np.float64), scaling)
    scaled = _scaled(sample.T, offsets, scales)
    found = _lloyd(
        scaled.T.astype(np.float64),
        n_clusters,
        random_state=seed,
        n_init=n_init,
        max_iter=max_iter,
        tol=tol,
    )
    centers = found * scales + offsets
    order = np.lexsort((*centers.T[::-1], centers.mean(axis=1)))
    scaled_centers = found[order].astype(np.float32)
    _, distances = _nearest(scaled, scaled_centers)
    return PixelKMeans(
        centers=centers[order],
        scaled_centers=scaled_centers,
        offsets=offsets,
        scales=scales,
        scaling=scaling,
        seed=seed,
        sample_size=len(sample),
        sample_inertia=float(distances.sum(dtype=np.float64)),
    )


def assign(model: PixelKMeans, samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the label of each pixel's nearest centre (scaled Euclidean distance), in blocks.

    Args:
        model: A fitted model.
        samples: (n, feature), in units and order of the features the model was fitted on.

    Returns:
        (n,) uint8: 1..K, of two equally near centres the lower label; 0 where a feature is NaN or
        infinite.

    Raises:
        ClusteringError: If the number of features is another than the model's.
    """
    _check_features(model, samples.shape, axis=-1)
    labels = np.zeros(len(samples), np.uint8)
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK].T
        scaled = _scaled(block, model.offsets, model.scales)
        labels[start : start + _BLOCK], _ = _nearest(scaled, model.scaled_centers)
    return labels


def label_raster(
    model: PixelKMeans, features: NDArray[Any], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], float]:
    """Return the label raster of an image and the inertia over all its labelled pixels.

    Args:
        model: A fitted model.
        features: (feature, y, x), in units and order of the features the model was fitted on.
        valid: (y, x) bool, True = to be labelled.

    Returns:
        Labels (y, x) uint8: 0 outside ``valid`` and where a feature is NaN or infinite, else as
        ``assign``; and the sum of squared scaled distances to the nearest centre.

    Raises:
        ClusteringError: If the number of features is another than the model's, or shapes differ.
    """
    _check_features(model, features.shape, axis=0)
    if valid.shape != features.shape[1:]:
        msg = f"shapes: features {features.shape}, valid {valid.shape}; (feature, y, x) and (y, x)"
        raise ClusteringError(msg)
    labels = np.zeros(valid.shape, np.uint8)
    inertia = 0.0
    height = max(1, _BLOCK // max(valid.shape[1], 1))
    for top in range(0, valid.shape[0], height):
        inside = valid[top : top + height]
        block = features[:, top : top + height][:, inside]
        nearest, distances = _nearest(
            _scaled(block, model.offsets, model.scales), model.scaled_centers
        )
        labels[top : top + height][inside] = nearest
        inertia += float(distances[nearest > 0].sum(dtype=np.float64))
    return labels, inertia


def _one_of_each_run(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Cut range(count) into ``size`` runs of equal length (to one) and draw one of each; rising."""
    if size < 1:
        msg = f"sample size: {size} pixels; allowed: 1 or more"
        raise ClusteringError(msg)
    if count <= size:
        return np.arange(count)
    edges = np.arange(size + 1, dtype=np.int64) * count // size
    return rng.integers(edges[:-1], edges[1:])


def _distinct_rows(rows: NDArray[np.float32]) -> int:
    if len(rows) == 0:
        return 0
    # Rows compared as bytes; adding zero turns -0 into 0, the one value with two of them.
    as_bytes = np.ascontiguousarray(rows + np.float32(0)).view(f"V{rows.shape[1] * 4}")
    return int(np.unique(as_bytes).size)


def _scaler(
    sample: NDArray[np.float64], scaling: Scaling
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets and scales (feature,) of a sample (n, feature)."""
    features = sample.shape[1]
    if scaling not in get_args(Scaling):
        msg = f"scaling: {scaling!r} is unknown; allowed: {', '.join(get_args(Scaling))}"
        raise ClusteringError(msg)
    if scaling == "none":
        return np.zeros(features), np.ones(features)
    columns = sample.reshape(-1, 1) if scaling == "common-robust" else sample
    deviation = np.where(np.ptp(columns, axis=0) == 0, 1.0, columns.std(axis=0))
    if scaling == "standard":
        return columns.mean(axis=0), deviation
    low, middle, high = np.percentile(columns, [25, 50, 75], axis=0)
    scales = np.where(high > low, high - low, deviation)
    return np.broadcast_to(middle, features).copy(), np.broadcast_to(scales, features).copy()


def _lloyd(scaled: NDArray[np.float64], n_clusters: int, **options: float) -> NDArray[np.float64]:
    """Return scikit-learn's centres (K, feature) of scaled samples (n, feature)."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # ships no types

    # With two threads the partial sums of centres are added in the order in which threads end.
    with threadpool_limits(limits=1):
        fitted = KMeans(n_clusters, **options).fit(scaled)
    centers: NDArray[np.float64] = fitted.cluster_centers_
    return centers


def _scaled(
    features: NDArray[Any], offsets: NDArray[np.float64], scales: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return features (feature, n) as scaled float32, contiguous along n."""
    scaled = np.array(features, np.float32, order="C")
    scaled -= offsets.astype(np.float32)[:, np.newaxis]
    scaled /= scales.astype(np.float32)[:, np.newaxis]
    return scaled


def _nearest(
    scaled: NDArray[np.float32], centers: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return label (from 1) and squared distance of the nearest centre; 0 and inf if there is none.

    Distances are summed feature by feature. A matrix product would be no faster at a few dozen
    features, loses digits to cancellation, and rounds by the shape of its blocks.

    Args:
        scaled: (feature, n) float32.
        centers: (K, feature) float32.
    """
    labels = np.zeros(scaled.shape[1], np.uint8)
    least = np.full(scaled.shape[1], np.inf, np.float32)
    distance = np.empty_like(least)
    difference = np.empty_like(least)
    for label, center in enumerate(centers, start=1):
        distance[:] = 0
        for feature, value in zip(scaled, center, strict=True):
            np.subtract(feature, value, out=difference)
            np.multiply(difference, difference, out=difference)
            distance += difference
        nearer = distance < least
        labels[nearer] = label
        np.copyto(least, distance, where=nearer)
    return labels, least


def _check_features(model: PixelKMeans, shape: tuple[int, ...], axis: int) -> None:
    if shape[axis] != len(model.offsets):
        msg = f"features: {shape[axis]} in shape {shape}; the model has {len(model.offsets)}"
        raise ClusteringError(msg)
