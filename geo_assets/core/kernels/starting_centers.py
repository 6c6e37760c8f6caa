"""Centres that a K-Means fit starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets.core.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def plus_plus(
    scaled: NDArray[np.float32],
    means: NDArray[np.float32],
    draws: NDArray[np.float64],
    centers: NDArray[np.float32],
    weights: NDArray[np.float32] | None = None,
) -> None:
    """Choose starting centres by greedy k-means++ (Arthur and Vassilvitskii 2007).

    Of several pixels drawn with probabilities by squared distance, each next centre is the one that
    leaves the least inertia, as in scikit-learn.

    Args:
        scaled: (feature, n), NaN where missing: it adds nothing to a distance.
        means: (feature,), what a centre holds where its pixel is NaN.
        draws: (K, trials), uniform in [0, 1).
        centers: (K, feature), written.
        weights: (n,), factors of the squared distances over all features but the last two, the
            place; None: all are 1.
    """
    features, n = scaled.shape
    closest = np.full(n, np.inf, np.float32)
    trial, best = np.empty(n, np.float32), np.empty(n, np.float32)
    reached = np.empty(n)
    candidate = np.empty(features, np.float32)
    for center in range(centers.shape[0]):
        least = np.inf
        for number in range(draws.shape[1]):
            draw = draws[center, number]
            if center == 0 or reached[n - 1] == 0:
                pixel = int(draw * n)
            else:
                pixel = min(np.searchsorted(reached, draw * reached[n - 1], "right"), n - 1)
            trial[:] = 0
            for feature in range(features):
                if weights is not None and feature == features - 2:
                    for i in range(n):
                        trial[i] *= weights[i]
                row, value = scaled[feature], scaled[feature, pixel]
                value = means[feature] if np.isnan(value) else value
                candidate[feature] = value
                for i in range(n):
                    difference = row[i] - value
                    difference = np.float32(0) if np.isnan(difference) else difference
                    trial[i] += difference * difference
            total = 0.0
            for i in range(n):
                trial[i] = min(trial[i], closest[i])
                total += np.float64(trial[i])
            # The first one whatever it leaves: sums of huge values are infinite, none is less.
            if number == 0 or total < least:
                least = total
                centers[center] = candidate
                trial, best = best, trial
            if center == 0:
                break
        closest, best = best, closest
        total = 0.0
        for i in range(n):
            total += np.float64(closest[i])
            reached[i] = total
