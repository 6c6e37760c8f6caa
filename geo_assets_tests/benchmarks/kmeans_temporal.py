"""K-Means of NDVI series, 1 M pixels × 24 dates, K = 5, all on one gap-filled array.

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

K, DATES = 5, 24
ONE_START = "scikit-learn, n_init=1"
TEN_STARTS = "scikit-learn, n_init=10"


def make(inputs: Path, size: int) -> None:
    from geo_assets.core.temporal_features import temporal_features

    cube = np.stack(list(ndvi_images(size, DATES, missing=0.3, seed=5)))
    series = temporal_features(cube, days(DATES), every="date", max_gap_days=366)
    if not series.complete.all():
        raise AssertionError("some pixel is missing on every date")
    np.save(inputs / "series.npy", series.values)


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    import sklearn.cluster  # noqa: F401  # loaded by the fit: importing is not what is timed

    from geo_assets.core.pixel_kmeans import fit_pixels, label_raster, spread_sample

    series = np.load(inputs / "series.npy")
    valid = np.ones(series.shape[1:], bool)
    with watch.time():
        drawn = spread_sample(valid, 50_000, seed=0)
        sample = series.reshape(DATES, -1)[:, drawn].T
        model = fit_pixels(sample, K, scaling="common-robust", seed=0)
        labels, _ = label_raster(model, series, valid)
    np.save(output / "labels.npy", labels.ravel())


def one_start(inputs: Path, output: Path, watch: Stopwatch) -> None:
    _scikit_learn(inputs, output, watch, n_init=1)


def ten_starts(inputs: Path, output: Path, watch: Stopwatch) -> None:
    _scikit_learn(inputs, output, watch, n_init=10)


def _scikit_learn(inputs: Path, output: Path, watch: Stopwatch, n_init: int) -> None:
    from sklearn.cluster import KMeans

    samples = np.ascontiguousarray(np.load(inputs / "series.npy").reshape(DATES, -1).T)
    with watch.time():
        labels = KMeans(K, n_init=n_init, random_state=0).fit(samples).labels_
    np.save(output / "labels.npy", (labels + 1).astype(np.uint8))


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    labels: dict[str, NDArray[np.uint8]] = {
        name: np.load(output / "labels.npy") for name, output in outputs.items()
    }
    series = np.load(inputs / "series.npy")
    return compare_clusterings(series.reshape(DATES, -1), labels, K)


BENCHMARKS = [
    Benchmark(
        name="kmeans_temporal_1m_24",
        make=make,
        size=1000,
        quick_size=60,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(ONE_START, one_start),
            Approach(TEN_STARTS, ten_starts),
        ),
        check=check,
        quantities=(
            Quantity(goals={ONE_START: 3.5, TEN_STARTS: 16}),
            Quantity("spread", "NDVI²", {TEN_STARTS: 1 / 1.001}),
            Quantity("agreement", "share", {TEN_STARTS: 0.995}, more_is_better=True),
        ),
    )
]
