"""What makes the features of a pixel comparable: an offset and a scale for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from geo_assets.errors import ClusteringError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scaling = Literal["none", "standard", "robust", "common-standard", "common-robust"]
"""Nothing; mean and standard deviation of each feature; median and interquartile range of each;
the same of all features together. Bands of land cover need a scale each, or the brightest rules; a
time series needs one common scale, or a date without contrast weighs as much as the height of
summer."""


def fit_scales(
    sample: NDArray[np.float32], scaling: Scaling
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return offsets and scales (feature,) of a sample: (x - offset) / scale is comparable.

    A feature whose interquartile range is 0 takes its standard deviation instead, a constant one
    (or one of which nothing is known) the scale 1.

    Args:
        sample: (feature, n) float32; NaN is left out.
        scaling: See ``Scaling``.

    Raises:
        ClusteringError: If the scaling is unknown.
    """
    if scaling not in get_args(Scaling):
        msg = f"scaling: {scaling!r} is unknown; allowed: {', '.join(get_args(Scaling))}"
        raise ClusteringError(msg)
    features = len(sample)
    if scaling == "none":
        return np.zeros(features), np.ones(features)
    rows = sample.reshape(1, -1) if scaling.startswith("common") else sample
    scale_of = _standard if scaling.endswith("standard") else _robust
    offsets, scales = np.array([scale_of(row) for row in rows]).T
    return np.broadcast_to(offsets, features).copy(), np.broadcast_to(scales, features).copy()


def _standard(values: NDArray[np.float32]) -> tuple[float, float]:
    known = values[~np.isnan(values)].astype(np.float64)
    if known.size == 0:
        return 0.0, 1.0
    return float(known.mean()), 1.0 if known.min() == known.max() else float(known.std())


def _robust(values: NDArray[np.float32]) -> tuple[float, float]:
    rising = np.sort(values)  # NaN last; several times faster than a selection of float64
    count = int(np.count_nonzero(~np.isnan(rising)))
    if count == 0:
        return 0.0, 1.0
    low, middle, high = (_quantile(rising[:count], share) for share in (0.25, 0.5, 0.75))
    return middle, high - low if high > low else _standard(values)[1]


def _quantile(rising: NDArray[np.float32], share: float) -> float:
    """Return a quantile of sorted values, linear between neighbours as numpy's default."""
    place = share * (rising.size - 1)
    below = int(place)
    low, high = float(rising[below]), float(rising[min(below + 1, rising.size - 1)])
    return low + (high - low) * (place - below)
