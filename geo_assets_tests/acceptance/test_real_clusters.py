"""K-Means on real NDVI: no start of scikit-learn finds better clusters.

In full each date and series is compared with the best of 50 starts.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from geo_assets.core.histogram_kmeans import fit_histogram, histogram_of
from geo_assets.core.indices import normalized_difference, quantise_index
from geo_assets.core.pixel_kmeans import fit_pixels, label_raster
from geo_assets.core.temporal_features import temporal_features

pytestmark = pytest.mark.real_data

K = 5


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads of OpenMP wait for each other, busily, where others are at work."""
    with threadpool_limits(limits=1):
        yield


def assert_no_start_of_scikit_learn_is_better(values, starts):
    bins = histogram_of(values)
    model = fit_histogram(bins, K)
    found = np.flatnonzero(bins)
    peer = KMeans(K, n_init=starts, random_state=0).fit(
        found[:, np.newaxis] - 32768.0, sample_weight=bins[found]
    )
    # scikit-learn sums in floating point.
    assert model.inertia <= peer.inertia_ * (1 + 1e-12)
    assert model.counts.sum() == np.count_nonzero(values != -32768)


def test_on_real_dates_of_slovenia_no_start_of_scikit_learn_is_better(real_data, full):
    with rasterio.open(real_data / "slovenia_eopatch" / "ndvi_68dates_cloudmasked.tif") as source:
        dates = source.read()
    assert len(dates) == 68
    assert_no_start_of_scikit_learn_is_better(dates, 50)
    for date in dates if full else dates[::17]:
        if np.unique(date).size > 100:  # a date of nothing but cloud has no labels
            assert_no_start_of_scikit_learn_is_better(date, 50 if full else 10)


def test_on_real_dates_of_a_mangrove_coast_no_start_of_scikit_learn_is_better(real_data, full):
    dates = []
    for red in sorted((real_data / "s2_rufiji").rglob("*B04.tif")):
        with rasterio.open(red) as source:
            b04 = source.read(1)
        with rasterio.open(red.with_name(red.name.replace("B04", "B08"))) as source:
            b08 = source.read(1)
        dates.append(quantise_index(normalized_difference(b08, b04, (b08 > 0) & (b04 > 0))))
    assert len(dates) == 21
    assert_no_start_of_scikit_learn_is_better(np.stack(dates), 50 if full else 5)
    for date in dates if full else dates[::7]:
        assert_no_start_of_scikit_learn_is_better(date, 50 if full else 10)


def test_on_real_series_a_fit_is_as_good_as_scikit_learns_best_start(real_data, full):
    folder = real_data / "slovenia_eopatch"
    with rasterio.open(folder / "ndvi_68dates_cloudmasked.tif") as source:
        cube = source.read()
    dates = json.loads((folder / "ndvi_68dates.json").read_text())
    when = np.array([date["datetime"] for date in dates], "datetime64[D]")
    when, first = np.unique(when, return_index=True)  # some days have two, of two orbits
    cube = cube[first]
    series = temporal_features(cube, when, "month", 200)
    features, valid = series.values, series.complete
    assert valid.mean() > 0.9
    model = fit_pixels(features[:, valid].T, K, scaling="common-robust", seed=1)
    labels, inertia = label_raster(model, features, valid)
    scaled = (features[:, valid].T.astype(np.float64) - model.offsets) / model.scales
    peer = KMeans(K, n_init=50 if full else 5, random_state=0).fit(scaled)
    assert inertia <= 1.001 * peer.inertia_
    # Ignoring the gaps instead of filling them finds much the same.
    gappy = temporal_features(cube, when, "month", fill=False)
    features = gappy.values
    known = ~np.isnan(features).all(axis=0)
    ignoring = fit_pixels(
        features[:, known].T, K, scaling="common-robust", seed=1, missing="ignore"
    )
    others, _ = label_raster(ignoring, features, known)
    assert others[known].all()
    assert adjusted_rand_score(labels[valid], others[valid]) > 0.5
