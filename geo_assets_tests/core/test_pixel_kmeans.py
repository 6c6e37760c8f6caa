import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances
from sklearn.preprocessing import RobustScaler, StandardScaler
from threadpoolctl import threadpool_limits

from geo_assets.core import pixel_assignment
from geo_assets.core.feature_scaling import fit_scales
from geo_assets.core.kernels.assignment import label_pixels
from geo_assets.core.pixel_kmeans import (
    PixelKMeans,
    assign,
    fit_pixels,
    label_block,
    label_raster,
)
from geo_assets.core.sampling import block_sample
from geo_assets.errors import GeoAssetsError


def landscape(seed=0, features=6, classes=4, shape=(60, 70), noise=0.05):
    """Fields of known class, one spectrum each, with noise: features (feature, y, x), truth."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (-(-shape[0] // 10), -(-shape[1] // 10)))
    truth = np.kron(blocks, np.ones((10, 10), int))[: shape[0], : shape[1]]
    spectra = rng.random((classes, features))
    pixels = spectra[truth].transpose(2, 0, 1) + rng.normal(0, noise, (features, *shape))
    return pixels.astype(np.float32), truth


def rows_of(features):
    return features.reshape(len(features), -1).T


def peer_fit(scaled, k, n_init):
    # In one thread: those of OpenMP wait for each other, busily, where others are at work.
    with threadpool_limits(limits=1):
        return KMeans(k, n_init=n_init, random_state=0).fit(scaled)


def by_scikit_learn(model, samples):
    """Distances in float64 between scaled samples and the model's centres."""
    scaled = (samples.astype(np.float64) - model.offsets) / model.scales
    return pairwise_distances(scaled, model.scaled_centers.astype(np.float64))


@pytest.mark.parametrize(
    "scaling", ["none", "standard", "robust", "common-standard", "common-robust"]
)
def test_labels_find_the_classes_of_a_landscape(scaling):
    features, truth = landscape()
    model = fit_pixels(rows_of(features), 4, scaling=scaling, seed=1)
    labels, inertia = label_raster(model, features, np.ones(truth.shape, bool))
    assert adjusted_rand_score(truth.ravel(), labels.ravel()) > 0.99
    nearest = by_scikit_learn(model, rows_of(features)).min(axis=1)
    assert inertia == pytest.approx(np.square(nearest).sum(), rel=1e-5)


def test_the_fit_is_no_worse_than_scikit_learn_on_all_pixels():
    features, _ = landscape(3, features=12, shape=(80, 90), noise=0.4)
    samples = rows_of(features)
    model = fit_pixels(samples, 4, scaling="standard", seed=1, sample_size=3000)
    assert model.sample_size == 3000
    labels, inertia = label_raster(model, features, np.ones(features.shape[1:], bool))
    scaled = StandardScaler().fit_transform(samples.astype(np.float64))
    peer = peer_fit(scaled, 4, n_init=10)
    # The unit of inertia is that of the sample's scale: compare partitions about their own means.
    groups = [scaled[labels.ravel() == label] for label in range(1, 5)]
    ours = sum(np.square(group - group.mean(axis=0)).sum() for group in groups)
    assert ours <= 1.005 * peer.inertia_
    assert adjusted_rand_score(peer.labels_, labels.ravel()) > 0.95
    assert inertia > 0


@pytest.mark.parametrize(
    ("scaling", "peer"), [("standard", StandardScaler()), ("robust", RobustScaler())]
)
def test_scales_are_those_of_scikit_learn(scaling, peer):
    samples = rows_of(landscape()[0]) * np.float32([1, 10, 100, 1, 1, 1000])
    model = fit_pixels(samples, 3, scaling=scaling, seed=1)
    peer.fit(samples.astype(np.float64))
    np.testing.assert_allclose(model.scales, peer.scale_, rtol=1e-12)
    offsets = peer.mean_ if scaling == "standard" else peer.center_
    np.testing.assert_allclose(model.offsets, offsets, rtol=1e-12)


@pytest.mark.parametrize(
    ("scaling", "peer"),
    [("common-standard", StandardScaler()), ("common-robust", RobustScaler())],
)
def test_one_common_scale_is_that_of_all_values_together(scaling, peer):
    samples = rows_of(landscape()[0]) * np.float32([1, 1, 2, 1, 1, 3])
    model = fit_pixels(samples, 3, scaling=scaling, seed=1)
    peer.fit(samples.astype(np.float64).reshape(-1, 1))
    offset = peer.mean_ if scaling == "common-standard" else peer.center_
    np.testing.assert_allclose(model.scales, np.full(6, peer.scale_[0]), rtol=1e-12)
    np.testing.assert_allclose(model.offsets, np.full(6, offset[0]), rtol=1e-12)


@pytest.mark.parametrize(
    "scaling", ["none", "standard", "robust", "common-standard", "common-robust"]
)
def test_scales_of_incomplete_features_are_those_of_what_is_known(scaling):
    samples = rows_of(landscape()[0]).copy()
    samples[np.random.default_rng(0).random(samples.shape) < 0.4] = np.nan
    samples = samples[~np.isnan(samples).all(axis=1)]
    offsets, scales = fit_scales(np.ascontiguousarray(samples.T), scaling)
    columns = [samples.ravel()] if scaling.startswith("common") else list(samples.T)
    for number, column in enumerate(columns):
        known = column[~np.isnan(column)].reshape(1, -1)
        alone = fit_scales(known, scaling)
        np.testing.assert_array_equal(alone, [offsets[number : number + 1], scales[[number]]])


def test_the_brightest_band_does_not_rule_under_standard_scaling():
    features, truth = landscape()
    rng = np.random.default_rng(0)
    bright = np.concatenate([features, rng.normal(3000, 500, (1, *truth.shape))])
    labels = {
        scaling: assign(fit_pixels(rows_of(bright), 4, scaling=scaling, seed=1), rows_of(bright))
        for scaling in ("none", "standard")
    }
    assert adjusted_rand_score(truth.ravel(), labels["none"]) < 0.1
    assert adjusted_rand_score(truth.ravel(), labels["standard"]) > 0.9


@pytest.mark.parametrize("scaling", ["standard", "robust", "common-standard", "common-robust"])
def test_constant_and_mostly_constant_features_get_a_scale(scaling):
    samples = rows_of(landscape()[0]).copy()
    samples[:, 0] = 0.1
    samples[:, 1] = 0
    samples[:40, 1] = 5000
    model = fit_pixels(samples, 3, scaling=scaling, seed=1)
    assert (model.scales > 0).all()
    assert np.isfinite(model.scaled_centers).all()
    if not scaling.startswith("common"):
        assert model.scales[0] == 1
        assert model.scales[1] == pytest.approx(samples[:, 1].std(dtype=np.float64))


def test_centres_rise_by_their_mean_whatever_the_seed():
    samples = rows_of(landscape(classes=5)[0])
    for seed in range(4):
        model = fit_pixels(samples, 5, scaling="standard", seed=seed)
        assert (np.diff(model.centers.mean(axis=1)) > 0).all()
        back = model.scaled_centers * model.scales + model.offsets
        np.testing.assert_allclose(model.centers, back, rtol=1e-5)


def test_centres_of_equal_mean_are_ordered_by_the_first_feature_that_differs():
    samples = np.repeat(np.float32([[1, -1], [-1, 1], [0, 0]]), 10, axis=0)
    for seed in range(5):
        model = fit_pixels(samples, 3, scaling="none", seed=seed)
        assert model.centers.tolist() == [[-1, 1], [0, 0], [1, -1]]


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(2, 6))
@settings(max_examples=25, deadline=None)
def test_every_pixel_gets_its_nearest_centre(seed, k):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 1, (80, 3)).astype(np.float32)
    model = fit_pixels(samples, k, scaling="robust", seed=1, n_init=1)
    labels = assign(model, samples)
    assert labels.dtype == np.uint8
    distances = by_scikit_learn(model, samples)
    chosen = np.take_along_axis(distances, labels[:, np.newaxis].astype(int) - 1, axis=1)[:, 0]
    np.testing.assert_allclose(chosen, distances.min(axis=1), rtol=1e-5, atol=1e-6)


def test_of_two_equally_near_centres_the_lower_label_is_taken():
    samples = np.repeat(np.float32([[0, 0], [2, 2]]), 5, axis=0)
    model = fit_pixels(samples, 2, scaling="none", seed=1)
    assert assign(model, np.float32([[1, 1], [0, 2], [1.5, 1]])).tolist() == [1, 1, 2]


def test_pixels_with_a_missing_feature_have_label_0():
    features, truth = landscape()
    model = fit_pixels(rows_of(features), 4, scaling="none", seed=1)
    features[2, 3, 4] = np.nan
    features[0, 5, 6] = np.inf
    valid = np.ones(truth.shape, bool)
    valid[:, :9] = False
    valid[3, 4] = valid[5, 6] = True
    labels, _ = label_raster(model, features, valid)
    assert labels[3, 4] == labels[5, 6] == 0
    assert not labels[~valid].any()
    assert labels[:, 9:].all()
    flat = assign(model, rows_of(features)).reshape(truth.shape)
    np.testing.assert_array_equal(np.where(valid, flat, 0), labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_blocks_do_not_show(monkeypatch, dtype):
    features, truth = landscape(noise=0.5)
    features = (features * 1000 + 3000).astype(dtype)
    model = fit_pixels(rows_of(features), 4, scaling="standard", seed=1)
    valid = np.random.default_rng(0).random(truth.shape) < 0.7
    whole, inertia = label_raster(model, features, valid)
    flat = assign(model, rows_of(features))
    monkeypatch.setattr(pixel_assignment, "BLOCK", 256)
    parts, inertia_of_parts = label_raster(model, features, valid)
    np.testing.assert_array_equal(parts, whole)
    np.testing.assert_array_equal(assign(model, rows_of(features)), flat)
    assert inertia_of_parts == inertia
    strips = [label_block(model, features[:, y : y + 7], valid[y : y + 7]) for y in range(0, 60, 7)]
    np.testing.assert_array_equal(np.concatenate([labels for labels, _ in strips]), whole)
    assert sum(part for _, part in strips) == pytest.approx(inertia, rel=1e-12)


@pytest.mark.parametrize("missing", ["fill", "ignore"])
def test_the_number_of_threads_does_not_show(missing):
    features, _ = landscape(seed=4, noise=0.5, shape=(600, 640))
    if missing == "ignore":
        features[np.random.default_rng(1).random(features.shape) < 0.2] = np.nan
    valid = ~np.isnan(features).all(axis=0)
    samples = rows_of(features)[valid.ravel()]
    made = set()
    for threads in (1, 2, 7):
        model = fit_pixels(
            samples, 5, scaling="robust", seed=7, missing=missing, n_init=4, threads=threads
        )
        labels, inertia = label_raster(model, features, valid, threads)
        made.add((json.dumps(model.to_dict()), labels.tobytes(), inertia))
    assert len(made) == 1


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads():
    samples = rows_of(landscape(noise=0.5)[0])
    made = set()
    for threads in (1, 2, 2, 4):
        with threadpool_limits(limits=threads):
            made.add(json.dumps(fit_pixels(samples, 5, scaling="standard", seed=7).to_dict()))
    assert len(made) == 1


def test_arrays_that_came_from_another_process_are_not_compiled_for_again():
    features, truth = landscape()
    model = fit_pixels(rows_of(features), 4, scaling="none", seed=1)
    valid = np.ones(truth.shape, bool)
    labels, _ = label_raster(model, features, valid)
    compiled = len(label_pixels.signatures)
    for array in (features, valid, model.offsets, model.scales, model.scaled_centers):
        array.flags.writeable = False
    again, _ = label_raster(model, features, valid)
    np.testing.assert_array_equal(again, labels)
    assert len(label_pixels.signatures) == compiled


@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("scaling", ["none", "robust", "standard", "common-robust"])
def test_the_inertia_of_a_sample_is_that_of_its_scaled_features(features, scaling):
    values = np.random.default_rng(3).normal(300, 90, (500, features)).astype(np.float32)
    model = fit_pixels(values, 3, scaling=scaling, seed=1)
    scaled = (values.astype(np.float64) - model.offsets) / model.scales
    centers = (model.centers - model.offsets) / model.scales
    inertia = cdist(scaled, centers, "sqeuclidean").min(axis=1).sum()
    assert model.sample_inertia == pytest.approx(inertia, rel=1e-5)


DAMAGES = {
    "centers": lambda model: model["centers"].pop(),
    "scaled_centers": lambda model: model["scaled_centers"].pop(),
    "offsets": lambda model: model["offsets"].pop(),
    "scales": lambda model: model["scales"].__setitem__(0, 0.0),
    "number": lambda model: model["scaled_centers"][0].__setitem__(0, float("nan")),
    "text": lambda model: model["scaled_centers"][0].__setitem__(0, "abc"),
}


@pytest.mark.parametrize("damage", list(DAMAGES.values()), ids=list(DAMAGES))
def test_a_model_that_cannot_be_is_refused(damage):
    values = np.random.default_rng(3).normal(0, 1, (50, 4)).astype(np.float32)
    said = fit_pixels(values, 3, scaling="none", seed=1).to_dict()
    damage(said)
    with pytest.raises(ValueError, match=r"centers|offsets|scales|could not convert"):
        PixelKMeans.from_dict(said)


def test_a_model_survives_json_to_the_last_bit():
    features, truth = landscape(noise=0.5)
    model = fit_pixels(rows_of(features), 6, scaling="robust", seed=7)
    again = PixelKMeans.from_dict(json.loads(json.dumps(model.to_dict())))
    for field in ("centers", "scaled_centers", "offsets", "scales"):
        one, other = getattr(model, field), getattr(again, field)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    assert again.to_dict() == model.to_dict()
    valid = np.ones(truth.shape, bool)
    np.testing.assert_array_equal(
        label_raster(again, features, valid)[0], label_raster(model, features, valid)[0]
    )


@pytest.mark.parametrize("scaling", ["robust", "standard", "none"])
def test_centres_are_those_of_pixels_far_from_zero(scaling):
    samples = np.repeat(np.array([1e7, 1e7 + 1], np.float32), 4000)[:, np.newaxis]
    model = fit_pixels(samples, 2, scaling=scaling, seed=1)
    assert model.centers.ravel().tolist() == [1e7, 1e7 + 1]


def test_integer_bands_are_taken_as_they_are():
    features, _ = landscape()
    bands = np.rint(features * 1000 + 1000).astype(np.uint16)
    as_integers = fit_pixels(rows_of(bands), 4, scaling="standard", seed=1)
    as_floats = fit_pixels(rows_of(bands).astype(np.float32), 4, scaling="standard", seed=1)
    assert as_integers.to_dict() == as_floats.to_dict()
    np.testing.assert_array_equal(
        assign(as_integers, rows_of(bands)), assign(as_floats, rows_of(bands).astype(np.float32))
    )


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.ones((9, 2)), {}, "3 clusters asked of 1 distinct pixels"),
        (np.array([[0.0], [-0.0], [1.0]]), {}, "3 clusters asked of 2 distinct pixels"),
        (np.ones((0, 2)), {}, "3 clusters asked of 0 distinct pixels"),
        (np.array([[0.0], [np.nan], [1.0]]), {}, "1 of 3 hold NaN or infinite"),
        (np.ones(9), {}, r"shape \(9,\); needed: \(n, feature\)"),
        (np.eye(9), {"n_clusters": 1}, "n_clusters: 1; allowed: 2 to 32"),
        (np.eye(9), {"n_clusters": 33}, "n_clusters: 33; allowed: 2 to 32"),
        (np.eye(9), {"sample_size": 0}, "sample size: 0 pixels; allowed: 1 or more"),
        (np.eye(9), {"scaling": "minmax"}, "'minmax' is unknown; allowed: none, standard"),
        (np.eye(9), {"missing": "drop"}, "'drop' is unknown; allowed: fill, ignore"),
        (np.eye(9), {"n_init": 0}, "n_init: 0 starts; allowed: 1 or more"),
        (
            np.array([[0.0, 1], [np.nan, np.nan], [np.nan, 2], [np.inf, 1]]),
            {"missing": "ignore"},
            "2 of 4 hold no feature but NaN, or an infinite one",
        ),
    ],
)
def test_what_cannot_be_clustered_is_refused_by_name(samples, options, message):
    arguments = {"n_clusters": 3, "scaling": "none", "seed": 1} | options
    with pytest.raises(GeoAssetsError, match=message):
        fit_pixels(samples, **arguments)


def test_a_model_refuses_pixels_with_other_features():
    model = fit_pixels(np.eye(4), 2, scaling="none", seed=1)
    with pytest.raises(GeoAssetsError, match=r"features: 3 in shape .* the model has 4"):
        assign(model, np.ones((5, 3)))
    with pytest.raises(GeoAssetsError, match="the model has 4"):
        label_raster(model, np.ones((3, 2, 2)), np.ones((2, 2), bool))
    with pytest.raises(GeoAssetsError, match="shapes: features"):
        label_raster(model, np.ones((4, 2, 2)), np.ones((2, 3), bool))


@pytest.mark.real_data
def test_on_real_bands_a_sample_fits_as_well_as_scikit_learn_on_every_pixel(real_data):
    import rasterio

    path = real_data / "s2_aberystwyth" / "s2_aber_20210527_10band.tif"
    with rasterio.open(path) as source:
        bands = source.read(window=((300, 600), (300, 600)))
    valid = (bands > 0).all(axis=0)
    sample = block_sample(bands, valid, origin=(0, 0), shape=valid.shape, size=50_000, seed=10)
    model = fit_pixels(sample.values, 4, scaling="standard", seed=10)
    labels, inertia = label_raster(model, bands, valid)
    scaled = (bands[:, valid].T.astype(np.float64) - model.offsets) / model.scales
    peer = peer_fit(scaled, 4, n_init=5)
    # Real spectra have no gaps between clusters: partitions a little apart are equally good, so
    # that inertia is compared here, and labels only where there is a truth.
    assert inertia <= 1.001 * peer.inertia_
    assert labels[valid].all()
    assert not labels[~valid].any()
