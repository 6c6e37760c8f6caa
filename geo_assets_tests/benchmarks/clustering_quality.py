"""How good a clustering is, computed in float64 from its labels: no approach judges itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks.model import OURS, Disagreement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def compare_clusterings(
    features: NDArray[np.generic], labels: Mapping[str, NDArray[np.uint8]], n_clusters: int
) -> dict[str, dict[str, float]]:
    """Return mean squared distance to the centre and agreement with the best, by approach.

    Args:
        features: (feature, n).
        labels: By approach: (n,) uint8, 1 to K in whatever order; ordered here by mean of centre.
        n_clusters: K.

    Raises:
        Disagreement: If ours is more than 0.1 % worse than the best, or agrees with it on fewer
            than 98 % of the pixels: then the approaches do not solve the same problem.
    """
    ordered, spread = {}, {}
    for name, found in labels.items():
        ordered[name], spread[name] = _ordered(features, found, n_clusters)
    best = min(spread, key=lambda name: (spread[name], name != OURS))
    agreement = {name: float((ordered[name] == ordered[best]).mean()) for name in ordered}
    if spread[OURS] > 1.001 * spread[best] or agreement[OURS] < 0.98:
        raise Disagreement(
            f"ours has a mean squared distance of {spread[OURS]:.6g} against {spread[best]:.6g} "
            f"by {best}, and shares {agreement[OURS]:.2%} of its labels"
        )
    return {name: {"spread": spread[name], "agreement": agreement[name]} for name in ordered}


def _ordered(
    features: NDArray[np.generic], labels: NDArray[np.uint8], n_clusters: int
) -> tuple[NDArray[np.uint8], float]:
    """Return labels 1 to K by rising mean of centre, and the mean squared distance to centres."""
    if labels.min() < 1 or labels.max() > n_clusters:
        raise Disagreement(f"labels {labels.min()} to {labels.max()}; wanted 1 to {n_clusters}")
    counts = np.bincount(labels, minlength=n_clusters + 1)[1:]
    if not counts.all():
        raise Disagreement(f"clusters of {counts.tolist()} pixels; none may be empty")
    means = np.zeros(n_clusters)
    spread = 0.0
    for feature in features:
        wide = feature.astype(np.float64)
        sums = np.bincount(labels, weights=wide, minlength=n_clusters + 1)[1:]
        means += sums / counts
        spread += float(wide @ wide - (sums**2 / counts).sum())
    rank = np.zeros(n_clusters + 1, np.uint8)
    rank[np.argsort(means) + 1] = np.arange(1, n_clusters + 1)
    return rank[labels], spread / labels.size
