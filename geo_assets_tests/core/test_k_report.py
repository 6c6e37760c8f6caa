from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, silhouette_score

from geo_assets.core.histogram_kmeans import fit_values, histogram_of
from geo_assets.core.k_report import (
    SEEDS,
    KRow,
    choose_k,
    histogram_report,
    k_report,
    nearest_centres,
    spatial_folds,
)
from geo_assets.errors import ClusteringError


def fit(sample, k, seed):
    return KMeans(k, n_init=5, random_state=seed).fit(sample).cluster_centers_


def heaps(centres, each, spread=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(centre, spread, (each, len(centre))) for centre in centres])


FOUR = heaps([(0, 0), (4, 0), (0, 5), (9, 9)], 150)


def test_each_criterion_is_that_of_scikit_learn_on_the_same_sample():
    folds = np.arange(len(FOUR)) % 2 == 1

    report = k_report(FOUR, (2, 6), 3, fit, folds=folds)

    for row in report.rows:
        peer = KMeans(row.k, n_init=5, random_state=3).fit(FOUR)
        assert row.inertia == pytest.approx(peer.inertia_)
        assert row.silhouette == pytest.approx(silhouette_score(FOUR, peer.labels_))
        assert row.calinski_harabasz == pytest.approx(calinski_harabasz_score(FOUR, peer.labels_))
        two = [
            KMeans(row.k, n_init=5, random_state=3 + SEEDS + number).fit(part).predict(FOUR)
            for number, part in enumerate((FOUR[~folds], FOUR[folds]), start=1)
        ]
        assert row.stability_folds == pytest.approx(adjusted_rand_score(*two))


def test_stability_over_seeds_is_the_mean_over_all_pairs_of_fits_of_random_halves():
    fitted = []

    def spy(sample, k, seed):
        fitted.append((sample, fit(sample, k, seed)))
        return fitted[-1][1]

    report = k_report(FOUR, (3, 4), 1, spy)

    assert all(len(sample) == len(FOUR) // 2 for sample, _ in fitted[1 : SEEDS + 1])
    labels = [nearest_centres(FOUR, centres)[0] for _, centres in fitted[1 : SEEDS + 1]]
    pairs = [adjusted_rand_score(a, b) for a, b in itertools.combinations(labels, 2)]
    assert report.rows[0].stability_seeds == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("seed", range(5))
def test_separate_heaps_are_counted_whatever_the_seed(seed):
    assert k_report(FOUR, (2, 8), seed, fit).chosen == 4


def test_the_silhouette_of_many_samples_is_taken_of_some_of_them():
    many = heaps([(0, 0), (4, 0), (0, 5)], 2000)

    row = k_report(many, (3, 4), 0, fit, seeds=2).rows[0]

    everything = silhouette_score(many, KMeans(3, n_init=5, random_state=0).fit_predict(many))
    assert row.silhouette == pytest.approx(everything, abs=0.02)
    assert row.silhouette != everything


def row(k, silhouette, seeds=1.0, folds=1.0):
    return KRow(k, 1.0, silhouette, 1.0, seeds, folds)


def test_an_unstable_k_is_not_chosen_however_good_its_silhouette():
    rows = [row(2, 0.5), row(3, 0.9, seeds=0.4), row(4, 0.8, folds=0.5), row(5, 0.6)]
    assert choose_k(rows) == 5


def test_where_no_k_is_stable_the_most_stable_is_chosen():
    assert choose_k([row(2, 0.9, 0.5), row(3, 0.1, 0.8, 0.7), row(4, 0.5, 0.2)]) == 3


def test_of_equally_good_k_the_least_is_chosen():
    assert choose_k([row(2, 0.5), row(3, 0.5)]) == 2


def test_a_fit_without_seed_has_no_stability_over_seeds():
    report = k_report(FOUR, (2, 3), 0, fit, seeds=0)
    assert {r.stability_seeds for r in report.rows} == {None}
    assert {r.stability for r in report.rows} == {1.0}


def test_a_range_beyond_the_distinct_samples_ends_where_they_end():
    few = np.repeat(np.arange(4.0), 50)[:, None]
    assert [r.k for r in k_report(few, (2, 9), 0, fit, seeds=2).rows] == [2, 3, 4]


@pytest.mark.parametrize("sample", [np.zeros((0, 2)), np.zeros((30, 2))])
def test_a_sample_without_as_many_distinct_pixels_is_refused(sample):
    with pytest.raises(ClusteringError, match=r"k_range: 2 to 5 clusters asked of [01] distinct"):
        k_report(sample, (2, 5), 0, fit)


def test_folds_are_a_chessboard_over_the_area():
    rows, cols = np.indices((80, 40))
    folds = spatial_folds(rows, cols, (80, 40))
    assert folds.mean() == 0.5
    assert not folds[:20, :10].any()
    assert folds[:20, 10:20].all()
    assert folds[20:40, :10].all()


def two_folds(each=800):
    rng = np.random.default_rng(5)
    folds = [
        np.concatenate([rng.normal(centre, 300, each) for centre in (500, 4000, 8000)]).astype(
            np.int16
        )
        for _ in range(2)
    ]
    return folds, np.stack([histogram_of(fold) for fold in folds])


def test_one_variable_is_reported_by_its_exact_fit_without_any_seed():
    folds, histograms = two_folds()

    report = histogram_report(histograms, (2, 6))

    assert report.chosen == 3
    values = np.concatenate(folds)
    three = report.rows[1]
    exact = fit_values(values, 3)
    share = report.sample_size / values.size
    assert three.inertia == pytest.approx(exact.inertia * share, rel=0.02)
    assert three.stability_seeds is None
    own, other = (
        np.searchsorted(fit_values(fold, 3).boundaries, values, side="left") for fold in folds
    )
    assert three.stability_folds == pytest.approx(adjusted_rand_score(own, other), abs=0.02)


def test_few_values_stand_for_themselves():
    folds, histograms = two_folds(each=20)
    report = histogram_report(histograms, (2, 3))
    assert report.sample_size == 120
    assert report.rows[0].inertia == pytest.approx(fit_values(np.concatenate(folds), 2).inertia)


def test_a_rare_value_is_found_that_lies_between_all_ranks():
    """A pond of 90 pixels in a meadow without contrast: a stated K parts them, so does auto."""
    histograms = np.zeros((2, 65536), np.int64)
    histograms[:, 32768 + 8000] = 500_000, 499_910
    histograms[1, 32768 - 2000] = 90
    report = histogram_report(histograms, (2, 10))
    assert report.chosen == 2
    assert report.sample_size == 5001
    histograms[0, [31768, 31268]] = 20, 30
    assert histogram_report(histograms, (3, 10)).sample_size == 5002
    with pytest.raises(ClusteringError, match="5 to 10 clusters asked of 4 distinct"):
        histogram_report(histograms, (5, 10))


@pytest.mark.parametrize("alone", [0, 1])
def test_a_fold_of_next_to_no_pixels_does_not_keep_k_from_being_chosen(alone):
    histograms = np.zeros((2, 65536), np.int64)
    histograms[0, 32768 + np.r_[0:50, 5000:5050]] = 10
    histograms[1, 32768 + 7] = alone
    report = histogram_report(histograms, (2, 4))
    assert report.chosen == 2
    assert {row.stability_folds for row in report.rows} == {None}


def test_a_fold_of_few_pixels_neither_counts_for_more_nor_decides():
    """A field on a black cell of a chessboard that else lies over white ones."""
    rng = np.random.default_rng(4)
    kinds = rng.choice([1000, 4500, 8000], 1_000_000)
    white = np.round(kinds + rng.normal(0, 150, kinds.size)).astype(int)
    black = np.round(rng.normal(4500, 150, 600)).astype(int)
    histograms = np.stack([np.bincount(each + 32768, minlength=65536) for each in (white, black)])
    report = histogram_report(histograms, (2, 6))
    assert report.chosen == 3
    assert {row.stability_folds for row in report.rows} == {None}
    assert report.sample_size == 5000


@pytest.mark.parametrize("few", [3, 20])
def test_a_fold_of_a_few_pixels_does_not_lower_k(few):
    """Half of an area may be water: what is left of its cells would cap K in silence."""
    folds = np.zeros(len(FOUR), bool)
    folds[:: len(FOUR) // few] = True
    report = k_report(FOUR, (2, 6), 0, fit, folds=folds, seeds=2)
    assert [row.k for row in report.rows] == [2, 3, 4, 5, 6]
    assert report.chosen == 4
    assert {row.stability_folds for row in report.rows} == {None}


def test_folds_of_as_many_values_as_the_area_are_compared_up_to_their_number():
    few = np.repeat(np.arange(4.0), 50)[:, None]
    report = k_report(few, (2, 9), 0, fit, folds=np.arange(200) % 2 == 1, seeds=2)
    assert [row.k for row in report.rows] == [2, 3, 4]
    assert {row.stability_folds for row in report.rows} == {1.0}
