import numpy as np
import pytest
import rasterio
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from geo_assets.core import lloyd
from geo_assets.core.band_names import common_name
from geo_assets.core.feature_scaling import fit_scales
from geo_assets.core.kernels.starting_centers import plus_plus
from geo_assets.core.land_cover_features import land_cover_features
from geo_assets.core.lloyd import best_centers
from geo_assets.core.sampling import block_sample

BANDS = ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]
OPTIONS = {"max_iter": 300, "tol": 1e-4}


def clumps(seed, n=3000, features=7, classes=9, spread=0.6):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 1, (classes, features))
    truth = rng.integers(0, classes, n)
    rows = centers[truth] + rng.normal(0, spread, (n, features))
    return np.ascontiguousarray(rows.T.astype(np.float32))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads of OpenMP wait for each other, busily, where others are at work."""
    with threadpool_limits(limits=1):
        yield


def inertia_about(scaled, centers):
    """Sum of squared distances to the nearest centre in float64, over what is known."""
    rows = scaled.T.astype(np.float64)
    squares = np.nansum(np.square(rows[:, np.newaxis] - centers), axis=2)
    return squares.min(axis=1).sum()


@pytest.mark.parametrize("k", [2, 5, 9, 16])
def test_the_fit_is_as_good_as_scikit_learns_best_of_as_many_starts(k):
    for seed in range(3):
        scaled = clumps(seed)
        found = best_centers(scaled, k, seed=seed, n_init=20, **OPTIONS)
        peer = KMeans(k, n_init=20, random_state=seed, tol=1e-4).fit(scaled.T.astype(np.float64))
        assert found.inertia <= 1.003 * peer.inertia_
        assert found.inertia == pytest.approx(inertia_about(scaled, found.values), rel=1e-5)


def test_from_the_same_centres_the_same_optimum_is_reached_as_by_scikit_learn():
    scaled = clumps(3)
    first = scaled[:, :5].T.astype(np.float64)
    found = lloyd._lloyd(scaled, first, 300, 0.0)
    peer = KMeans(5, init=first, n_init=1, tol=0).fit(scaled.T.astype(np.float64))
    np.testing.assert_allclose(found.values, peer.cluster_centers_, rtol=1e-4, atol=1e-4)
    assert found.inertia == pytest.approx(peer.inertia_, rel=1e-6)


def test_starts_compared_on_part_of_a_large_sample_lead_to_scikit_learns_best(monkeypatch):
    monkeypatch.setattr(lloyd, "SCREENED", 60)
    for seed in range(3):
        scaled = clumps(seed, n=6000)
        found = best_centers(scaled, 8, seed=seed, n_init=20, **OPTIONS)
        peer = KMeans(8, n_init=10, random_state=seed).fit(scaled.T.astype(np.float64))
        assert found.inertia <= 1.001 * peer.inertia_


@pytest.mark.parametrize(("k", "seed"), [(6, 10), (8, 0), (8, 5), (10, 10)])
def test_rare_bright_pixels_of_a_real_scene_mislead_no_choice_of_starts(real_data, k, seed):
    """Among few pixels they are too many or none, and starts that were 11 % worse went on."""
    with rasterio.open(real_data / "s2_aberystwyth" / "s2_aber_20210527_10band.tif") as file:
        bands = file.read()
        names = [common_name(name) for name in BANDS]
    indices = ("NDVI", "NDWI", "NDBI")
    features, usable = land_cover_features(bands, (bands > 0).all(axis=0), names, indices)
    sample = block_sample(
        features, usable, origin=(0, 0), shape=usable.shape, size=50_000, seed=10
    ).values
    offsets, scales = fit_scales(np.ascontiguousarray(sample.T), "robust")
    scaled = np.ascontiguousarray(((sample - offsets) / scales).T.astype(np.float32))
    found = best_centers(scaled, k, seed=seed, n_init=50, **OPTIONS)
    peer = KMeans(k, n_init=5, random_state=0).fit(scaled.T.astype(np.float64))
    assert found.inertia <= 1.001 * peer.inertia_


def test_inertia_never_rises_with_iterations_even_where_features_are_missing():
    scaled = clumps(1)
    scaled[np.random.default_rng(0).random(scaled.shape) < 0.4] = np.nan
    first = np.nan_to_num(scaled[:, :6].T).astype(np.float64)
    inertias = [lloyd._lloyd(scaled, first, steps, 0.0).inertia for steps in range(12)]
    assert (np.diff(inertias) <= 1e-4).all()
    assert inertias[-1] < 0.9 * inertias[0]
    end = lloyd._lloyd(scaled, first, 300, 0.0)
    assert end.inertia == pytest.approx(inertia_about(scaled, end.values), rel=1e-5)


def test_a_centre_without_pixels_moves_to_the_farthest_pixel():
    scaled = np.array([[0.0, 0.1, 0.2, 9.0, 9.1, 30.0]], np.float32)
    found = lloyd._lloyd(scaled, np.array([[0.1], [1e6], [1e7]]), 300, 0.0)
    assert sorted(found.values[:, 0]) == pytest.approx([0.1, 9.05, 30.0], rel=1e-5)


def test_as_many_clusters_as_distinct_pixels_leave_no_inertia():
    scaled = np.repeat(np.float32([[0, 1, 2, 3, 10], [5, 4, 3, 2, 1]]), 20, axis=1)
    found = best_centers(scaled, 5, seed=1, n_init=1, **OPTIONS)
    assert found.inertia == 0


def test_starting_centres_are_pixels_of_their_own_where_there_are_enough():
    scaled = clumps(5, n=400)
    centers = np.empty((9, 7), np.float32)
    draws = np.random.default_rng(0).random((9, 4))
    plus_plus(scaled, scaled.mean(axis=1), draws, centers)
    rows = {row.tobytes() for row in scaled.T}
    assert {row.tobytes() for row in centers} <= rows
    assert len({row.tobytes() for row in centers}) == 9


def test_each_starting_centre_is_the_best_of_its_trials():
    """Greedy k-means++ in a few lines of numpy, with the same draws."""
    scaled = clumps(6, n=300)
    draws = np.random.default_rng(1).random((6, 3))
    centers = np.empty((6, 7), np.float32)
    plus_plus(scaled, scaled.mean(axis=1), draws, centers)
    rows = scaled.T.astype(np.float64)
    expected = [rows[int(draws[0, 0] * 300)]]
    closest = np.square(rows - expected[0]).sum(axis=1)
    for trials in draws[1:]:
        reached = np.cumsum(closest)
        tried = np.searchsorted(reached, trials * reached[-1], "right")
        left = [np.minimum(closest, np.square(rows - rows[i]).sum(axis=1)) for i in tried]
        best = int(np.argmin([part.sum() for part in left]))
        expected.append(rows[tried[best]])
        closest = left[best]
    np.testing.assert_array_equal(centers, np.array(expected, np.float32))


def test_a_starting_centre_holds_the_mean_where_its_pixel_is_missing():
    scaled = np.array([[0, 0, 9, 9], [1, 1, np.nan, np.nan]], np.float32)
    centers = np.empty((2, 2), np.float32)
    plus_plus(scaled, np.array([4.5, 1], np.float32), np.full((2, 2), 0.1), centers)
    assert centers.tolist() == [[0, 1], [9, 1]]


def test_starting_centres_are_pixels_even_where_all_distances_are_infinite():
    scaled = np.array([[-3e38, 3e38, -3e38, 3e38]], np.float32)
    centers = np.full((3, 1), 7, np.float32)
    plus_plus(scaled, np.zeros(1, np.float32), np.full((3, 2), 0.3), centers)
    assert set(centers[:, 0].tolist()) <= set(scaled[0].tolist())
