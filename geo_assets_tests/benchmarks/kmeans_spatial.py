"""K-Means of one date's NDVI, K = 5: fit and labels, from an array to an array.

At 120 M pixels (a full scene) one start of scikit-learn takes a minute and 4.6 GB: a round of it is
run all the same, as of every approach, so that ratios are of the same run (``--rounds 1`` for one).
S4's way would take ten minutes there, and is compared at 10 M.
"""

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
SCENE_PARTS = 4
SCIKIT_LEARN = "scikit-learn, n_init=1"
OLD_WAY = "old way: robust scaling, scikit-learn, n_init=10"


def make(inputs: Path, size: int) -> None:
    # The middle of three dates: the height of summer, when classes differ most.
    images = list(ndvi_images(size, dates=3, missing=0.05, seed=4))
    np.save(inputs / "ndvi.npy", np.ascontiguousarray(images[1]))


def make_scene(inputs: Path, size: int) -> None:
    """A full scene: one image repeated with a shift of values, so that no two rows are equal."""
    side = size // SCENE_PARTS
    image = np.ascontiguousarray(list(ndvi_images(side, dates=3, missing=0.05, seed=4))[1])
    rng = np.random.default_rng(4)
    scene = np.lib.format.open_memmap(
        inputs / "ndvi.npy", mode="w+", dtype=np.int16, shape=(side * SCENE_PARTS,) * 2
    )
    for row in range(SCENE_PARTS):
        for col in range(SCENE_PARTS):
            shift = rng.integers(-300, 301, dtype=np.int16)
            part = scene[row * side : (row + 1) * side, col * side : (col + 1) * side]
            part[:] = np.where(image == MISSING, MISSING, image + shift)


def ours(inputs: Path, output: Path, watch: Stopwatch) -> None:
    from geo_assets.core.histogram_kmeans import fit_values, labels_of

    ndvi = np.load(inputs / "ndvi.npy")
    labels_of(ndvi[:300], fit_values(ndvi[:300], K))  # compiles
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
    ),
    Benchmark(
        name="kmeans_spatial_120m",
        make=make_scene,
        size=10_956,
        quick_size=120,
        approaches=(
            Approach(OURS, ours, "ours"),
            Approach(SCIKIT_LEARN, scikit_learn),
            Approach("read the values, write the labels", memory, "limit"),
        ),
        check=check,
        quantities=(
            Quantity(goals={SCIKIT_LEARN: 120}),
            Quantity("spread", "steps²", {SCIKIT_LEARN: 1}),
        ),
    ),
]
