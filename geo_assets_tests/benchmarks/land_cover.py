"""K-Means of land cover: 12 bands × 1 M pixels, K = 6, from scaled bands to labels.

Every approach gets the same bands, scaled by the standard deviation of each. S2's way is re-written
on them as correct floats: its cast to int8 wrapped whatever exceeded 127.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from geo_assets_tests.benchmarks.clustering_quality import compare_clusterings
from geo_assets_tests.benchmarks.kmeans_temporal import dask_ml, scikit_learn
from geo_assets_tests.benchmarks.model import OURS, Approach, Benchmark, Quantity, Stopwatch
from geo_assets_tests.benchmarks.synthetic import parcels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

K, BANDS, SAMPLE = 6, 12, 20_000
OLD_WAY = "S2's way re-written: dask_ml, one chunk"
TEN_STARTS = "scikit-learn, n_init=10"
NOISE = 0.35
"""Of a pixel beside its class, in standard deviations of all spectra: classes overlap, as real ones
do."""


def make(inputs: Path, size: int) -> None:
    rng = np.random.default_rng(6)
    cover = parcels(size, rng)
    spectra = rng.normal(size=(K, BANDS)).astype(np.float32)
    # Light falls on a slope or does not: what real bands have in common beside their class.
    light = rng.standard_normal((size, size), np.float32) * np.float32(NOISE)
    bands = np.empty((BANDS, size, size), np.float32)
    for band, values in zip(bands, spectra.T, strict=True):
        noise = rng.standard_normal((size, size), np.float32)
        reflectance = values[cover] + light + np.float32(NOISE) * noise
        np.divide(reflectance, reflectance.std(), out=band)
    np.save(inputs / "features.npy", bands)


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.pixel_kmeans import fit_pixels, label_raster
    from geo_assets.core.sampling import block_sample

    bands = np.load(inputs / "features.npy")
    valid = np.ones(bands.shape[1:], bool)

    def work(bands: np.ndarray, valid: np.ndarray) -> np.ndarray:
        sample = block_sample(bands, valid, origin=(0, 0), shape=valid.shape, size=SAMPLE, seed=0)
        model = fit_pixels(sample.values, K, scaling="standard", seed=0)
        labels, _ = label_raster(model, bands, valid)
        return labels

    work(np.ascontiguousarray(bands[:, :20]), valid[:20])  # compiles
    with watch.time():
        labels = work(bands, valid)
    np.save(output / "labels.npy", labels.ravel())


def ten_starts(inputs: Path, output: Path, watch: Stopwatch) -> None:
    scikit_learn(inputs, output, watch, n_clusters=K, n_init=10)


def old_way(inputs: Path, output: Path, watch: Stopwatch) -> None:
    dask_ml(inputs, output, watch, n_clusters=K)


def check(inputs: Path, outputs: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    labels = {name: np.load(output / "labels.npy") for name, output in outputs.items()}
    return compare_clusterings(np.load(inputs / "features.npy").reshape(BANDS, -1), labels, K)


BENCHMARKS = [
    Benchmark(
        name="land_cover_1m_12",
        make=make,
        size=1000,
        quick_size=60,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(OLD_WAY, old_way, requires=("dask_ml",)),
            Approach(TEN_STARTS, ten_starts),
        ),
        check=check,
        quantities=(
            Quantity(goals={OLD_WAY: 75, TEN_STARTS: 30}),
            Quantity("spread", "sd²", {OLD_WAY: 1 / 1.001, TEN_STARTS: 1 / 1.001}),
            Quantity("agreement", "share", {TEN_STARTS: 0.999}, more_is_better=True),
        ),
    )
]
