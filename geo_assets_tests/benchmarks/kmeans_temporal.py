"""K-Means of NDVI series, 1 M and 4 M pixels × 24 dates, K = 5, all on one gap-filled array.

Filling gaps is not timed: it is the same for everyone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks.clustering_quality import compare_clusterings
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch
from geo_assets_tests.benchmarks.synthetic import days, ndvi_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

K, DATES, SAMPLE = 5, 24, 50_000
ONE_START = "scikit-learn, n_init=1"
TEN_STARTS = "scikit-learn, n_init=10"
ONE_CHUNK = "dask_ml, one chunk"
PEERS = (ONE_START, TEN_STARTS, ONE_CHUNK)


def make(inputs: Path, size: int) -> None:
    from geo_assets.core.temporal_features import temporal_features

    cube = np.stack(list(ndvi_images(size, DATES, missing=0.3, seed=5)))
    series = temporal_features(cube, days(DATES), every="date", max_gap_days=366)
    if not series.complete.all():
        raise AssertionError("some pixel is missing on every date")
    np.save(inputs / "features.npy", series.values)


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.pixel_kmeans import fit_pixels, label_raster
    from geo_assets.core.sampling import block_sample

    series = np.load(inputs / "features.npy")
    valid = np.ones(series.shape[1:], bool)

    def work(series: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
        sample = block_sample(series, valid, origin=(0, 0), shape=valid.shape, size=SAMPLE, seed=0)
        model = fit_pixels(sample.values, K, scaling="common-robust", seed=0)
        labels, _ = label_raster(model, series, valid)
        return labels

    work(np.ascontiguousarray(series[:, :20]), valid[:20])  # compiles
    with watch.time():
        labels = work(series, valid)
    np.save(output / "labels.npy", labels.ravel())


def one_start(inputs: Path, output: Path, watch: Stopwatch) -> None:
    scikit_learn(inputs, output, watch, n_clusters=K, n_init=1)


def ten_starts(inputs: Path, output: Path, watch: Stopwatch) -> None:
    scikit_learn(inputs, output, watch, n_clusters=K, n_init=10)


def one_chunk(inputs: Path, output: Path, watch: Stopwatch) -> None:
    dask_ml(inputs, output, watch, n_clusters=K)


def scikit_learn(
    inputs: Path, output: Path, watch: Stopwatch, *, n_clusters: int, n_init: int
) -> None:
    from sklearn.cluster import KMeans

    samples = _samples(inputs)
    with watch.time():
        labels = KMeans(n_clusters, n_init=n_init, random_state=0).fit(samples).labels_
    np.save(output / "labels.npy", (labels + 1).astype(np.uint8))


def dask_ml(inputs: Path, output: Path, watch: Stopwatch, *, n_clusters: int) -> None:
    """All pixels in one chunk, with dask_ml's own defaults (k-means|| starts), as S2 had it."""
    import dask.array
    from dask_ml.cluster import KMeans

    samples = _samples(inputs)
    KMeans(2, random_state=0).fit(dask.array.from_array(samples[:1000], chunks=-1))  # compiles
    with watch.time():
        chunk = dask.array.from_array(samples, chunks=-1)
        labels = np.asarray(KMeans(n_clusters, random_state=0).fit(chunk).labels_)
    np.save(output / "labels.npy", (labels + 1).astype(np.uint8))


def _samples(inputs: Path) -> NDArray[np.float32]:
    """Return the features as these libraries want them: (n, feature)."""
    features = np.load(inputs / "features.npy")
    return np.ascontiguousarray(features.reshape(len(features), -1).T)


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    labels: dict[str, NDArray[np.uint8]] = {
        name: np.load(output / "labels.npy") for name, output in outputs.items()
    }
    series = np.load(inputs / "features.npy")
    return compare_clusterings(series.reshape(DATES, -1), labels, K)


def _benchmark(name: str, size: int) -> Benchmark:
    return Benchmark(
        name=name,
        make=make,
        size=size,
        quick_size=60,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(ONE_START, one_start),
            Approach(TEN_STARTS, ten_starts),
            Approach(ONE_CHUNK, one_chunk, requires=("dask_ml",)),
        ),
        check=check,
        quantities=(
            Quantity(goals={ONE_START: 3.5, TEN_STARTS: 16, ONE_CHUNK: 20}),
            Quantity("spread", "NDVI²", dict.fromkeys(PEERS, 1 / 1.001)),
            Quantity("agreement", "share", {TEN_STARTS: 0.995}, more_is_better=True),
        ),
    )


BENCHMARKS = [_benchmark("kmeans_temporal_1m_24", 1000), _benchmark("kmeans_temporal_4m_24", 2000)]
