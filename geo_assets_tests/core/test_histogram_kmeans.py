import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo_assets.core.histogram_kmeans import (
    MAX_COUNT,
    HistogramKMeans,
    fit_histogram,
    fit_values,
    histogram_of,
    labels_of,
)
from geo_assets.errors import GeoAssetsError

BINS = 2**16


def histogram(counts_by_value):
    bins = np.zeros(BINS, np.int64)
    for value, count in counts_by_value.items():
        bins[value + 32768] = count
    return bins


def inertia_of(weighted):
    """Inertia of one cluster of (value, count) in rational numbers, from its definition."""
    total = sum(count for _, count in weighted)
    center = Fraction(sum(value * count for value, count in weighted), total)
    return sum(count * (value - center) ** 2 for value, count in weighted)


def least_inertia_of_all_partitions(counts_by_value, k):
    weighted = sorted(counts_by_value.items())
    cuts = itertools.combinations(range(1, len(weighted)), k - 1)
    return min(
        sum(inertia_of(weighted[a:b]) for a, b in itertools.pairwise((0, *cut, len(weighted))))
        for cut in cuts
    )


def least_inertia_by_recurrence(counts_by_value, k):
    """The textbook O(K n²) programme in rational numbers."""
    weighted = sorted(counts_by_value.items())
    sums = [(0, 0, 0)]
    for v, c in weighted:
        n, s, q = sums[-1]
        sums.append((n + c, s + c * v, q + c * v * v))

    def cost(a, b):
        n, s, q = (high - low for high, low in zip(sums[b], sums[a], strict=True))
        return q - Fraction(s * s, n)

    best = [cost(0, b) for b in range(1, len(sums))]
    for _ in range(k - 1):
        best = [None] + [
            min(best[a - 1] + cost(a, b) for a in range(1, b) if best[a - 1] is not None)
            if any(value is not None for value in best[: b - 1])
            else None
            for b in range(2, len(sums))
        ]
    return best[-1]


def least_inertia_in_integers(counts_by_value, k):
    """The textbook programme on inertias times 2**64, rounded down: fast enough for many values."""
    weighted = sorted(counts_by_value.items())
    counts = np.array([0] + [c for _, c in weighted], object).cumsum()
    firsts = np.array([0] + [c * v for v, c in weighted], object).cumsum()
    seconds = np.array([0] + [c * v * v for v, c in weighted], object).cumsum()
    n = len(weighted)
    scale = 2**64

    def costs(stop, starts):
        s = firsts[stop] - firsts[starts]
        return (seconds[stop] - seconds[starts]) * scale - s * s * scale // (
            counts[stop] - counts[starts]
        )

    best = {stop: costs(stop, np.array([0]))[0] for stop in range(1, n + 1)}
    for clusters in range(2, k + 1):
        best = {
            stop: min(
                costs(stop, np.arange(clusters - 1, stop))
                + np.array([best[start] for start in range(clusters - 1, stop)], object)
            )
            for stop in range(clusters, n + 1)
        }
    return float(Fraction(best[n], scale))


def inertia_of_labels(counts_by_value, model):
    """Exact inertia of the partition that the labels make, about its own means."""
    values = np.array(sorted(counts_by_value), np.int16)
    labels = labels_of(values, model)
    groups = {}
    for value, label in zip(values.tolist(), labels.tolist(), strict=True):
        groups.setdefault(label, []).append((value, counts_by_value[value]))
    assert sorted(groups) == list(range(1, len(model.centers) + 1))
    return sum(inertia_of(group) for group in groups.values())


small = st.dictionaries(
    st.one_of(st.integers(-6, 6), st.integers(-32767, 32767)),
    st.one_of(st.integers(1, 4), st.integers(1, 10**9 // 2)),
    min_size=2,
    max_size=9,
)


@given(counts=small, data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_inertia_is_the_least_of_all_partitions(counts, data):
    k = data.draw(st.integers(2, len(counts)))
    model = fit_histogram(histogram(counts), k)
    least = least_inertia_of_all_partitions(counts, k)
    assert model.inertia == float(least)
    assert inertia_of_labels(counts, model) == least


def random_histogram(seed):
    """Values in clumps or anywhere, counts alike or of very different size; and a K."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 31))
    clumps = rng.integers(-32000, 32000, rng.integers(1, 6))
    wide = rng.choice(65535, n, replace=False) - 32767
    near = rng.choice(clumps, n) + rng.integers(-40, 41, n)
    values = np.unique(np.clip(near if seed % 2 else wide, -32767, 32767))
    counts = rng.integers(1, 10 ** rng.integers(1, 8), len(values))
    k = int(rng.integers(2, 9)) if seed % 5 else len(values)
    return dict(zip(values.tolist(), counts.tolist(), strict=True)), max(2, min(k, len(values)))


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_on_200_random_histograms_the_inertia_is_that_of_the_textbook_programme(first):
    for seed in range(first, first + 50):
        counts, k = random_histogram(seed)
        if len(counts) < 2:
            counts |= {0: 1, 1: 7}
        model = fit_histogram(histogram(counts), k)
        least = least_inertia_by_recurrence(counts, k)
        assert model.inertia == float(least), f"seed {seed}"
        assert inertia_of_labels(counts, model) == least, f"seed {seed}"


@pytest.mark.parametrize("k", [2, 3, 5, 32])
def test_many_values_sifted_by_floats_give_the_cut_of_exact_costs_alone(k):
    """The same programme without halving and without sifting, in integers and fractions."""
    rng = np.random.default_rng(k)
    values = np.sort(rng.choice(np.arange(-9999, 10000), 250, replace=False))
    counts = dict(zip(values.tolist(), rng.integers(1, 10**6, 250).tolist(), strict=True))
    model = fit_histogram(histogram(counts), k)
    assert model.inertia == least_inertia_in_integers(counts, k)


@pytest.mark.parametrize("k", [2, 5, 9])
def test_no_better_start_is_found_by_scikit_learn(k):
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(k)
    values = np.concatenate(
        [
            rng.normal(m, s, n)
            for m, s, n in ((-2000, 300, 900), (2500, 900, 2500), (8000, 500, 600))
        ]
    ).astype(np.int16)
    model = fit_values(values, k)
    wide = values[:, np.newaxis].astype(np.float64)
    peer = KMeans(k, n_init=50, random_state=0).fit(wide)
    # scikit-learn sums in floating point; its inertia is compared, not trusted to the last bit.
    assert model.inertia <= peer.inertia_ * (1 + 1e-12)
    assert model.inertia >= peer.inertia_ * 0.99
    centers = model.centers[labels_of(values, model) - 1]
    assert model.inertia == pytest.approx(np.square(wide[:, 0] - centers).sum(), rel=1e-12)


def test_a_histogram_of_every_bin_splits_into_equal_parts():
    model = fit_histogram(np.r_[0, np.full(BINS - 1, 131_000)], 5)
    assert model.counts.tolist() == [13107 * 131_000] * 5
    assert model.centers.tolist() == [-26214, -13107, 0, 13107, 26214]
    assert model.inertia == float(5 * 131_000 * Fraction(13107 * (13107**2 - 1), 12))


def test_large_counts_far_from_the_middle_lose_no_digit():
    # Q - S²/N of the upper cluster is 1e9 out of 1e18: a float of either would drown it.
    counts = {-32767: 5, 32764: 10**9, 32765: 10**9 - 1, 32766: 10**9}
    model = fit_histogram(histogram(counts), 3)
    assert model.inertia == float(least_inertia_of_all_partitions(counts, 3))


@given(st.lists(st.integers(-32768, 32767), min_size=0, max_size=60))
@settings(deadline=None)
def test_a_histogram_counts_everything_but_missing(values):
    array = np.array(values, np.int16)
    bins = histogram_of(array)
    expected = np.zeros(BINS, np.int64)
    np.add.at(expected, array[array != -32768].astype(np.int64) + 32768, 1)
    np.testing.assert_array_equal(bins, expected)


def test_labels_rise_with_the_centre_and_missing_is_0():
    values = np.array([[9000, -5, -32768], [8900, 0, 4000]], np.int16)
    model = fit_values(values, 3)
    labels = labels_of(values, model)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [[3, 1, 0], [3, 1, 2]]
    assert model.counts.tolist() == [2, 1, 2]
    assert model.centers.tolist() == [-2.5, 4000.0, 8950.0]


@given(counts=small, values=st.lists(st.integers(-32767, 32767), min_size=1, max_size=30))
@settings(deadline=None)
def test_a_value_the_histogram_did_not_hold_gets_the_nearest_centre_the_lower_of_two(
    counts, values
):
    model = fit_histogram(histogram(counts), 2)
    groups = np.split(
        np.array(sorted(counts)),
        [int(np.sum(labels_of(np.array(sorted(counts), np.int16), model) == 1))],
    )
    centers = [
        Fraction(sum(int(v) * counts[int(v)] for v in group), sum(counts[int(v)] for v in group))
        for group in groups
    ]
    labels = labels_of(np.array(values, np.int16), model)
    for value, label in zip(values, labels.tolist(), strict=True):
        distances = [abs(value - center) for center in centers]
        assert label == distances.index(min(distances)) + 1


def test_equally_good_partitions_give_the_same_answer_every_time():
    # -1 | 0 1 and -1 0 | 1 have the same inertia.
    counts = {-1: 3, 0: 3, 1: 3}
    models = [fit_histogram(histogram(counts), 2) for _ in range(3)]
    assert {tuple(model.counts.tolist()) for model in models} == {(3, 6)}


def test_a_model_survives_json():
    values = np.random.default_rng(0).integers(-3000, 9000, 5000).astype(np.int16)
    model = fit_values(values, 7)
    again = HistogramKMeans.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.to_dict() == model.to_dict()
    np.testing.assert_array_equal(labels_of(values, again), labels_of(values, model))


def test_views_that_are_not_contiguous_are_read_as_they_stand():
    values = np.arange(-60, 60, dtype=np.int16).reshape(10, 12)[::2, ::-3]
    np.testing.assert_array_equal(histogram_of(values), histogram_of(values.copy()))
    model = fit_values(values, 3)
    np.testing.assert_array_equal(labels_of(values, model), labels_of(values.copy(), model))


def test_more_clusters_than_distinct_values_are_refused_with_both_numbers():
    with pytest.raises(GeoAssetsError, match="5 clusters asked of 2 distinct values"):
        fit_values(np.array([3, 3, 4, -32768], np.int16), 5)
    with pytest.raises(GeoAssetsError, match="5 clusters asked of 0 distinct values"):
        fit_values(np.full((4, 4), -32768, np.int16), 5)


def test_impossible_numbers_of_clusters_and_values_are_refused():
    for k in (1, 33):
        with pytest.raises(GeoAssetsError, match=f"n_clusters: {k}; allowed: 2 to 32"):
            fit_histogram(histogram({1: 1, 2: 1}), k)
    with pytest.raises(GeoAssetsError, match=f"fewer than {MAX_COUNT}"):
        fit_histogram(histogram({1: MAX_COUNT - 1, 2: 1}), 2)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_counts_and_labels_do_not_depend_on_the_number_of_threads(threads):
    rng = np.random.default_rng(3)
    values = rng.integers(-32768, 32768, (700, 701)).astype(np.int16)
    bins = np.bincount(values.ravel().astype(np.int64) + 32768, minlength=BINS)
    bins[0] = 0
    np.testing.assert_array_equal(histogram_of(values, threads), bins)
    model = fit_values(values, 6, threads)
    labels = np.searchsorted(model.boundaries, values) + 1
    labels[values == -32768] = 0
    np.testing.assert_array_equal(labels_of(values, model, threads), labels)
