from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geo_assets.core import label_fit
from geo_assets.core.label_fit import FitRules, feature_scales, fit_labels
from geo_assets.core.lloyd import best_centers
from geo_assets.core.pixel_kmeans import PixelKMeans, assign
from geo_assets.core.sampling import block_sample
from geo_assets.errors import ClusteringError


def rules(**changes):
    given = {
        "n_clusters": 3,
        "k_range": (2, 5),
        "scaling": "standard",
        "missing": "fill",
        "position_weight": 0.0,
        "seed": 1,
        "starts": 5,
    }
    return FitRules(**(given | changes))


def three_kinds(each=300, places=False, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.repeat([0, 1, 2], each)
    values = np.array([[0, 0], [8, 0], [0, 8]])[kind] + rng.normal(0, 0.5, (3 * each, 2))
    if places:
        values = np.column_stack([values, rng.uniform(0, 5000, (3 * each, 2))])
    return values.astype(np.float32), kind, rng.random(3 * each) < 0.5


def test_kinds_are_found():
    values, kind, folds = three_kinds()
    fitted = fit_labels(values, rules(), folds)
    assert fitted.report is None
    assert adjusted_rand_score(kind, assign(fitted.model, values)) == 1.0


def test_k_is_chosen_and_reported():
    values, kind, folds = three_kinds()
    fitted = fit_labels(values, rules(n_clusters="auto"), folds)
    assert fitted.report.chosen == len(fitted.model.centers) == 3
    assert adjusted_rand_score(kind, assign(fitted.model, values)) == 1.0


def test_the_report_leaves_out_pixels_of_which_not_all_is_known():
    values, _, folds = three_kinds()
    values[::4, 0] = np.nan
    fitted = fit_labels(values, rules(n_clusters="auto", missing="ignore"), folds)
    assert fitted.report.sample_size == 675


def test_the_report_looks_at_every_part_of_the_area(monkeypatch):
    """A sample is in an order of its own: one of every ten may be those of the left half."""
    side = 1024
    places = np.indices((side, side)).astype(np.float32)
    valid = np.ones((side, side), bool)
    drawn = block_sample(places, valid, origin=(0, 0), shape=(side, side), size=50_000, seed=1)
    seen = []

    def look(sample, *_, **__):
        seen.append(sample)
        raise ClusteringError("seen")

    monkeypatch.setattr(label_fit, "k_report", look)
    monkeypatch.setattr(label_fit, "REPORT_SAMPLE", 5_000)  # one of every ten
    asked = rules(n_clusters="auto", scaling="none")
    with pytest.raises(ClusteringError, match="seen"):
        fit_labels(drawn.values, asked, np.zeros(len(drawn.values), bool))
    assert seen[0].shape == (5000, 2)
    for along in seen[0].T:
        quarters, _ = np.histogram(along, bins=4, range=(0, side))
        assert quarters.min() > 1000


def test_a_report_without_a_complete_pixel_says_so():
    values, _, folds = three_kinds()
    values[np.arange(len(values)), np.arange(len(values)) % 2] = np.nan
    with pytest.raises(ClusteringError, match="of 900 there is none; state K"):
        fit_labels(values, rules(n_clusters="auto", missing="ignore"), folds)


def test_places_of_weight_one_have_the_variance_of_all_values():
    values, _, _ = three_kinds(places=True)
    for weight in (0.5, 1.0, 3.0):
        offsets, scales = feature_scales(values, rules(position_weight=weight))
        variance = ((values - offsets) / scales).var(axis=0)
        assert variance[2:].sum() == pytest.approx(weight**2 * variance[:2].sum(), rel=1e-4)
        assert scales[2] == scales[3]


def test_a_fit_with_places_is_that_of_scikit_learn_on_scaled_features():
    values, _, folds = three_kinds(places=True)
    asked = rules(position_weight=2.0, n_clusters=4, starts=20)
    fitted = fit_labels(values, asked, folds)
    offsets, scales = feature_scales(values, asked)
    peer = KMeans(4, n_init=20, random_state=0).fit((values - offsets) / scales)
    assert fitted.model.sample_inertia <= peer.inertia_ * 1.001
    means = fitted.model.centers[:, :2].mean(axis=1)
    assert means.tolist() == sorted(means)


def gappy_seasons(n=2000, steps=12, seed=0):
    """Two crops mixed in space; of every other pixel one step in twelve is known."""
    rng = np.random.default_rng(seed)
    crop = rng.random(n) < 0.5
    values = np.where(crop[:, None], 0.75, 0.25) + rng.normal(0, 0.03, (n, steps))
    values[1::2][rng.integers(0, steps, n // 2)[:, None] != np.arange(steps)] = np.nan
    return np.column_stack([values, rng.uniform(0, 5000, (n, 2))]).astype(np.float32), crop


def squares_to(centers, scaled):
    """Squared distances (n, K) in float64: of values scaled to all of them, and of the place."""
    apart = np.square(scaled[:, None] - centers[None])
    known = np.isfinite(scaled[:, :-2])
    share = known.sum(axis=1) / known.shape[1]
    return np.nansum(apart[..., :-2], axis=2) / share[:, None] + apart[..., -2:].sum(axis=2)


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_few_known_values_weigh_as_much_as_all_beside_the_place(weight):
    values, crop = gappy_seasons()
    asked = rules(
        n_clusters=4,
        scaling="common-robust",
        missing="ignore",
        position_weight=weight,
        starts=20,
    )
    model = fit_labels(values, asked, np.zeros(len(values), bool)).model
    labels, inertia = model.assign(values.T, np.ones(len(values), bool))
    squares = squares_to(model.scaled_centers, (values - model.offsets) / model.scales)
    np.testing.assert_array_equal(labels, squares.argmin(axis=1) + 1)
    assert inertia == pytest.approx(squares.min(axis=1).sum(), rel=1e-5)
    assert model.sample_inertia == inertia
    high = model.centers[:, :-2].mean(axis=1) > 0.5
    np.testing.assert_array_equal(high[labels - 1], crop)
    again = PixelKMeans.from_dict(json.loads(json.dumps(model.to_dict())))
    np.testing.assert_array_equal(again.assign(values.T, np.ones(len(values), bool))[0], labels)


def test_a_fit_beside_the_place_makes_least_what_is_scaled_to_all_values():
    values, _ = gappy_seasons()
    values[:, -2:] = 3 * (values[:, -2:] / 5000 - 0.5)
    found = best_centers(
        np.ascontiguousarray(values.T),
        4,
        seed=1,
        n_init=20,
        max_iter=300,
        tol=1e-4,
        placed=True,
    )
    squares = squares_to(found.values, values.astype(np.float64))
    assert found.inertia == pytest.approx(squares.min(axis=1).sum(), rel=1e-5)


@pytest.mark.parametrize("few", [False, True])
def test_a_pixel_whose_place_alone_is_known_is_not_labelled(few):
    values, _ = gappy_seasons()
    if not few:
        values = values[::2]
    asked = rules(missing="ignore", position_weight=1.0)
    model = fit_labels(values, asked, np.zeros(len(values), bool)).model
    shown = values[:300].copy()
    shown[7, :-2] = np.nan
    labels, _ = model.assign(shown.T, np.ones(300, bool))
    assert np.flatnonzero(labels == 0).tolist() == [7]
    whole, _ = model.assign(values.T, np.ones(len(values), bool))
    np.testing.assert_array_equal(np.delete(labels, 7), np.delete(whole[:300], 7))


def test_pixels_in_one_place_or_of_one_value_have_a_scale_all_the_same():
    values, _, _ = three_kinds(places=True)
    values[:, 2:] = 7
    _, scales = feature_scales(values, rules(position_weight=1.0))
    assert scales[2:].tolist() == [1.0, 1.0]
    values[:, :2] = 3
    assert np.isfinite(feature_scales(values, rules(position_weight=1.0))[1]).all()


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_more_clusters_than_distinct_pixels_are_refused(weight):
    values = np.ones((50, 4), np.float32)
    with pytest.raises(ClusteringError, match="3 clusters asked of 1 distinct pixels"):
        fit_labels(values, rules(position_weight=weight), np.zeros(50, bool))


@pytest.mark.parametrize("k", [5, "auto"])
def test_the_place_makes_no_clusters_of_pixels_that_are_alike(k):
    places = np.indices((60, 60)).reshape(2, -1).T * 10.0 + 5
    values = np.column_stack([np.full(3600, 0.5), places]).astype(np.float32)
    asked = rules(n_clusters=k, scaling="common-robust", position_weight=1.0)
    folds = (places[:, 0] > 300) ^ (places[:, 1] > 300)
    with pytest.raises(ClusteringError, match="clusters asked of 1 distinct"):
        fit_labels(values, asked, folds)
    values[::2, 0] = 0.6
    with pytest.raises(ClusteringError, match="5 clusters asked of 2 distinct pixels"):
        fit_labels(values, rules(n_clusters=5, position_weight=1.0), folds)
    for k_asked in (2, "auto"):
        two = fit_labels(values, rules(n_clusters=k_asked, position_weight=0.01), folds).model
        assert two.centers[:, 0].tolist() == pytest.approx([0.5, 0.6])


def test_the_sample_is_not_changed():
    values, _, folds = three_kinds(places=True)
    before = values.copy()
    fit_labels(values, rules(position_weight=1.0, n_clusters="auto", k_range=(2, 3)), folds)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("scaling", ["robust", "none"])
def test_a_value_out_of_all_proportion_is_refused_with_its_feature(scaling, weight):
    """A fill value that nobody declared: its square is infinite in float32."""
    values, _, folds = three_kinds(places=True)
    values[5, 1] = -3.4e38
    asked = rules(scaling=scaling, position_weight=weight)
    with pytest.raises(ClusteringError, match=r"feature B08: holds -3\.4e\+38, .* as no data"):
        fit_labels(values, asked, folds, names=("B04", "B08", "easting", "northing"))
    with pytest.raises(ClusteringError, match="feature 2: holds"):
        fit_labels(values, asked, folds)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused_with_places_too(weight, bad):
    values, _, folds = three_kinds(places=weight > 0)
    values[5, 0] = bad
    with pytest.raises(ClusteringError, match="1 of 900 hold NaN or infinite features"):
        fit_labels(values, rules(position_weight=weight), folds)
