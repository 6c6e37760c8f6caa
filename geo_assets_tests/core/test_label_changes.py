from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    adjusted_rand_score,
    confusion_matrix,
    normalized_mutual_info_score,
)

from geo_assets.core.label_changes import (
    LASTING,
    add_counts,
    adjusted_rand,
    change_map,
    count_changes,
    normalized_mutual_information,
)

K, T = 4, 3
stacks = arrays(np.uint8, st.tuples(st.integers(1, 7), st.just(5), st.just(6)),
                elements=st.integers(0, K))  # fmt: skip
maps = arrays(np.uint8, (5, 6), elements=st.integers(0, T))


def confusion(a, b, k):
    known = (a > 0) & (b > 0)
    if not known.any():
        return np.zeros((k, k), int)
    return confusion_matrix(a[known], b[known], labels=range(1, k + 1))


@settings(max_examples=50, deadline=None)
@given(stacks, maps)
def test_counts_are_those_of_pixel_by_pixel_walks(labels, series):
    counts = count_changes(labels, series, K, T)

    observed, first_last = np.zeros((K, K), int), np.zeros((K, K), int)
    for walk in labels.reshape(len(labels), -1).T:
        known = walk[walk > 0].astype(int)
        for a, b in itertools.pairwise(known):
            observed[a - 1, b - 1] += 1
        if known.size > 1:
            first_last[known[0] - 1, known[-1] - 1] += 1
    np.testing.assert_array_equal(counts.observed, observed)
    np.testing.assert_array_equal(counts.first_last, first_last)
    for number in range(len(labels) - 1):
        peer = confusion(labels[number], labels[number + 1], K)
        np.testing.assert_array_equal(counts.successive[number], peer)
    for number, date in enumerate(labels):
        np.testing.assert_array_equal(counts.areas[number], [(date == k).sum() for k in range(5)])
        np.testing.assert_array_equal(counts.with_series[number], confusion(date, series, K)[:, :T])


@settings(max_examples=30, deadline=None)
@given(stacks, maps)
def test_counts_of_parts_add_up_to_those_of_the_whole(labels, series):
    whole = count_changes(labels, series, K, T)
    parts = [
        count_changes(labels[:, rows], series[rows], K, T) for rows in (slice(0, 2), slice(2, 5))
    ]
    added = add_counts(parts)
    for name in ("successive", "observed", "first_last", "areas", "with_series"):
        np.testing.assert_array_equal(getattr(added, name), getattr(whole, name))


def half_up(mean):
    return int(np.floor(mean + 0.5))


def drop_of(walk):
    """The lasting drop of one pixel by trying every date: (date, from, to), all 0 without one."""
    at = np.flatnonzero(walk)
    known = walk[at].astype(float)
    best = (0.0, 0, 0, 0)
    for split in range(1, known.size):
        low, high = known[split:].mean(), known[:split].mean()
        fitted = ((known[:split] - high) ** 2).sum() + ((known[split:] - low) ** 2).sum()
        gain = ((known - known.mean()) ** 2).sum() - fitted
        if high > low and gain > best[0] + 1e-9:
            best = (gain, int(at[split]) + 1, half_up(high), half_up(low))
    gain, date, high, low = best
    spread = ((known - known.mean()) ** 2).sum() if known.size else 0
    near = abs(gain - LASTING * spread) < 1e-9  # either way, but for rounding
    return ((date, high, low) if gain >= LASTING * spread and high > low else (0, 0, 0)), near


@settings(max_examples=60, deadline=None)
@given(stacks)
def test_a_lasting_drop_is_the_best_split_in_two_means(labels):
    bands, valid = change_map(labels)
    for row, col in np.ndindex(labels.shape[1:]):
        walk = labels[:, row, col]
        known = walk[walk > 0]
        assert valid[row, col] == (known.size >= 2)
        assert bands[0, row, col] == np.count_nonzero(np.diff(known.astype(int)))
        peer, near = drop_of(walk)
        if not near:
            assert tuple(bands[1:, row, col]) == peer


def test_a_drop_does_not_depend_on_which_labels_differ_by_as_much():
    walk = np.array([2, 3, 2, 3, 1, 2, 1, 2])
    labels = np.stack([walk, walk + 1, walk + 2, walk + 10], axis=1).astype(np.uint8)
    bands, _ = change_map(labels[:, None, :])
    assert bands[1, 0].tolist() == [5, 5, 5, 5]
    assert bands[2, 0].tolist() == [3, 4, 5, 13]
    assert bands[3, 0].tolist() == [2, 3, 4, 12]


def test_labels_may_rise_again_after_a_drop_that_explains_half():
    short, long = [5, 5, 5, 1, 1, 1, 5], [4, 4, 4, 4, 1, 1, 1, 1, 4, 4]
    assert change_map(np.array(short, np.uint8)[:, None, None])[0][1:, 0, 0].tolist() == [4, 5, 2]
    assert not change_map(np.array(long, np.uint8)[:, None, None])[0][1:].any()


def test_a_felled_wood_drops_once_and_a_field_does_not():
    wood = [5, 5, 0, 5, 4, 1, 1, 0, 1, 1]
    field = [1, 2, 4, 5, 2, 1, 2, 4, 5, 2]
    bands, valid = change_map(np.array([wood, field], np.uint8).T[:, None, :])
    assert valid.all()
    assert bands[:, 0, 0].tolist() == [2, 6, 5, 1]
    assert bands[1:, 0, 1].tolist() == [0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, (2, 40), elements=st.integers(1, 4)))
def test_agreement_is_that_of_scikit_learn(pair):
    table = confusion(pair[0], pair[1], 4)
    assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(*pair), abs=1e-12)
    peer = normalized_mutual_info_score(*pair)
    assert normalized_mutual_information(table) == pytest.approx(peer, abs=1e-9)


def test_equal_labellings_agree_by_no_more_than_1():
    for table in ([27, 4], [3, 9, 9], [49, 1]):
        agreement = normalized_mutual_information(np.diag(table))
        assert agreement <= 1
        assert agreement == pytest.approx(1)


def test_agreement_without_pixels_is_unknown():
    nothing = np.zeros((3, 2), np.int64)
    assert adjusted_rand(nothing) is None
    assert normalized_mutual_information(nothing) is None


def test_agreement_of_a_whole_scene_does_not_overflow():
    table = np.array([[60_000_000, 500_000], [700_000, 59_000_000]])
    assert 0.9 < adjusted_rand(table) < 1


def test_memory_of_a_change_map_does_not_grow_with_dates():
    peaks = []
    for dates in (50, 200):
        labels = np.random.default_rng(0).integers(0, 6, (dates, 64, 64)).astype(np.uint8)
        tracemalloc.start()
        change_map(labels)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
