"""K-Means of pixels of which features are missing, where these are left out of distances."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import nan_euclidean_distances

from geo_assets.core.pixel_kmeans import PixelKMeans, assign, fit_pixels, label_raster
from geo_assets_tests.core.test_pixel_kmeans import landscape, rows_of


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(2, 5))
@settings(max_examples=25, deadline=None)
def test_ignoring_what_is_missing_changes_nothing_where_nothing_is(seed, k):
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (5, 17, 31)).astype(np.float32)
    options = {"scaling": "common-standard", "seed": 3, "n_init": 2}
    filled = fit_pixels(rows_of(features), k, **options)
    ignored = fit_pixels(rows_of(features), k, missing="ignore", **options)
    assert ignored.to_dict() == filled.to_dict() | {"missing": "ignore"}
    valid = rng.random((17, 31)) < 0.9
    labels, inertia = label_raster(filled, features, valid)
    again, again_inertia = label_raster(ignored, features, valid)
    np.testing.assert_array_equal(again, labels)
    assert again_inertia == inertia
    # Beside pixels with gaps, complete ones keep their label and their distance.
    gappy = features.copy()
    gappy[rng.random(features.shape) < 0.3] = np.nan
    complete = valid & ~np.isnan(gappy).any(axis=0)
    among, _ = label_raster(ignored, gappy, valid)
    np.testing.assert_array_equal(among[complete], labels[complete])


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_distances_over_known_features_are_those_of_scikit_learn(seed):
    """``nan_euclidean_distances`` scales by all over known features too."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1, (400, 6)).astype(np.float32)
    model = fit_pixels(samples, 4, scaling="robust", seed=1, missing="ignore", n_init=2)
    samples[rng.random(samples.shape) < 0.5] = np.nan
    samples[:3] = np.nan
    labels, inertia = label_raster(model, samples.T[:, np.newaxis], np.ones((1, 400), bool))
    nothing = np.isnan(samples).all(axis=1)
    np.testing.assert_array_equal(labels[0] == 0, nothing)
    scaled = (samples[~nothing].astype(np.float64) - model.offsets) / model.scales
    distances = nan_euclidean_distances(scaled, model.scaled_centers.astype(np.float64))
    chosen = np.take_along_axis(distances, labels[0, ~nothing, np.newaxis].astype(int) - 1, axis=1)
    np.testing.assert_allclose(chosen[:, 0], distances.min(axis=1), rtol=1e-5, atol=1e-6)
    assert inertia == pytest.approx(np.square(distances.min(axis=1)).sum(), rel=1e-5)


def partly_unseen(seed=0, each=300):
    """Three kinds of series, (n, 3); of the second the last step is never known."""
    rng = np.random.default_rng(seed)
    kinds = np.array([[0.2, 0.2, 0.2], [0.75, 0.75, np.nan], [0.55, 0.55, 0.85]])
    samples = np.repeat(kinds, each, axis=0) + rng.normal(0, 0.01, (3 * each, 3))
    return samples.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_what_a_centre_does_not_know_is_left_out_of_distances_to_it(seed):
    samples = partly_unseen()
    fitted = fit_pixels(samples, 3, scaling="common-robust", seed=seed, missing="ignore")
    assert np.argwhere(np.isnan(fitted.centers)).tolist() == [[2, 2]]
    rng = np.random.default_rng(seed)
    shown = rng.uniform(0, 1, (500, 3)).astype(np.float32)
    shown[rng.random(shown.shape) < 0.3] = np.nan
    shown[:2] = [[0.72, 0.72, 0.85], [np.nan, np.nan, 0.85]]
    read = PixelKMeans.from_dict(json.loads(json.dumps(fitted.to_dict())))
    some = ~np.isnan(shown).all(axis=1)
    # scikit-learn's distance is over what two rows have in common, scaled to all features.
    scaled = (shown[some].astype(np.float64) - fitted.offsets) / fitted.scales
    centers = (fitted.centers - fitted.offsets) / fitted.scales
    distances = nan_euclidean_distances(scaled, centers)
    peer = np.nanargmin(distances, axis=1) + 1
    assert peer[:2].tolist() == [3, 2]
    for model in (fitted, read):
        labels, inertia = model.assign(shown.T, np.ones(500, bool))
        np.testing.assert_array_equal(labels[some], peer)
        assert not labels[~some].any()
        assert inertia == pytest.approx(np.square(np.nanmin(distances, axis=1)).sum(), rel=1e-4)
        assert model.sample_inertia == model.assign(samples.T, np.ones(900, bool))[1]


def test_a_pixel_that_shares_no_step_with_any_centre_is_not_labelled():
    samples = partly_unseen()[[*range(300), *range(600, 900)]]
    samples[:, 2] = np.nan
    model = fit_pixels(samples, 2, scaling="common-robust", seed=1, missing="ignore")
    assert np.isnan(model.centers[:, 2]).all()
    shown = np.array(
        [[np.nan, np.nan, 0.9], [np.nan, np.nan, 0.1], [0.5, np.nan, 0.1], [0.5, 0.5, np.inf]],
        np.float32,
    )
    assert assign(model, shown).tolist() == [0, 0, 2, 0]


def test_a_centre_without_a_value_where_gaps_are_filled_is_refused():
    said = fit_pixels(np.eye(4), 2, scaling="none", seed=1).to_dict()
    said["centers"][1][2] = None
    with pytest.raises(ValueError, match="centers: null"):
        PixelKMeans.from_dict(said)


def test_classes_are_found_where_every_other_feature_is_missing():
    features, truth = landscape(features=12)
    features[np.random.default_rng(0).random(features.shape) < 0.5] = np.nan
    model = fit_pixels(rows_of(features), 4, scaling="common-robust", seed=1, missing="ignore")
    labels, _ = label_raster(model, features, np.ones(truth.shape, bool))
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > 0.97
    # Centres are the means of what is known of their pixels.
    means = [np.nanmean(features[:, labels == label], axis=1) for label in range(1, 5)]
    np.testing.assert_allclose(model.centers, means, rtol=1e-3)


def test_infinite_features_have_label_0_even_where_missing_ones_are_ignored():
    features, truth = landscape()
    model = fit_pixels(rows_of(features), 4, scaling="none", seed=1, missing="ignore")
    features[0, 3, 4] = np.inf
    features[:, 5, 6] = np.nan
    features[1:, 7, 8] = np.nan
    labels, _ = label_raster(model, features, np.ones(truth.shape, bool))
    assert labels[3, 4] == labels[5, 6] == 0
    assert labels[7, 8] > 0
    assert np.count_nonzero(labels == 0) == 2
