"""K-Means of one date's NDVI, K = 5: fit and labels, from an array to an array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks.clustering_quality import compare_clusterings
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch
from geo_assets_tests.benchmarks.synthetic import MISSING, ndvi_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

K = 5
SCIKIT_LEARN = "scikit-learn, n_init=1"
OLD_WAY = "old way: robust scaling, scikit-learn, n_init=10"


def make(inputs: Path, size: int) -> None:
    # The middle of three dates: the height of summer, when classes differ most.
    images = list(ndvi_images(size, dates=3, missing=0.05, seed=4))
    np.save(inputs / "ndvi.npy", images[1])


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.histogram_kmeans import fit_values, labels_of

    ndvi = np.load(inputs / "ndvi.npy")
    with watch.time():
        labels = labels_of(ndvi, fit_values(ndvi, K))
    np.save(output / "labels.npy", labels[ndvi != MISSING])


def scikit_learn(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from sklearn.cluster import KMeans

    values = _valid(inputs).astype(np.float32)[:, np.newaxis] * np.float32(1e-4)
    with watch.time():
        labels = KMeans(K, n_init=1, random_state=0).fit(values).labels_
    np.save(output / "labels.npy", (labels + 1).astype(np.uint8))


def old_way(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import RobustScaler

    values = _valid(inputs).astype(np.float64)[:, np.newaxis] * 1e-4
    with watch.time():
        scaled = RobustScaler(quantile_range=(1, 99)).fit_transform(values)
        model = KMeans(K, n_init=10, max_iter=300, tol=1e-4, random_state=0)
        labels = model.fit(scaled).labels_
    np.save(output / "labels.npy", (labels + 1).astype(np.uint8))


def memory(inputs: Path, _: Path, watch: Stopwatch) -> None:
    ndvi = np.load(inputs / "ndvi.npy")
    labels = np.zeros(ndvi.shape, np.uint8)
    with watch.time():
        np.not_equal(ndvi, MISSING, out=labels.view(bool))


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    labels = {name: np.load(output / "labels.npy") for name, output in outputs.items()}
    return compare_clusterings(_valid(inputs)[np.newaxis], labels, K)


def _valid(inputs: Path) -> NDArray[np.int16]:
    ndvi: NDArray[np.int16] = np.load(inputs / "ndvi.npy")
    valid: NDArray[np.int16] = ndvi[ndvi != MISSING]
    return valid


BENCHMARKS = [
    Benchmark(
        name="kmeans_spatial_10m",
        make=make,
        size=3163,
        quick_size=100,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(SCIKIT_LEARN, scikit_learn),
            Approach(OLD_WAY, old_way),
            Approach("read the values, write the labels", memory, "limit"),
        ),
        check=check,
        quantities=(
            Quantity(goals={SCIKIT_LEARN: 120, OLD_WAY: 400}),
            # The optimum is exact: no approach can be below it.
            Quantity("spread", "steps²", {SCIKIT_LEARN: 1, OLD_WAY: 1}),
        ),
    )
]
