from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geo_assets.core.label_smoothing import smooth_labels


def peer(labels, radius):
    """The same by scipy: the votes of each label are a convolution with the disc."""
    y, x = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
    disc = (y**2 + x**2 <= radius**2).astype(int)
    votes = np.stack(
        [
            ndimage.convolve((labels == k).astype(int), disc, mode="constant")
            for k in range(1, int(labels.max()) + 1)
        ]
    )
    most = votes.max(axis=0)
    own = np.take_along_axis(votes, np.maximum(labels.astype(int) - 1, 0)[None], axis=0)[0]
    winner = np.where(own == most, labels, votes.argmax(axis=0) + 1)
    return np.where(labels > 0, winner, 0)


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 5)),
    st.integers(1, 6),
)
def test_the_majority_is_that_of_a_convolution(labels, radius):
    if labels.any():
        np.testing.assert_array_equal(smooth_labels(labels, radius), peer(labels, radius))


@pytest.mark.parametrize("radius", [1, 3, 20])
def test_no_data_gets_no_label_and_spreads_over_none(radius):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (60, 70)).astype(np.uint8)
    labels[20:40, 20:50] = 0
    labels[30, 30] = 2  # alone amid no data

    smoothed = smooth_labels(labels, radius)

    assert ((smoothed == 0) == (labels == 0)).all()
    assert smoothed[30, 30] in ({2} if radius < 10 else {1, 2})


def test_a_tie_keeps_the_own_label_else_the_lower_one():
    row = np.array([[2, 1, 2, 1]], np.uint8)
    assert smooth_labels(row, 1).tolist() == [[2, 2, 1, 1]]
    tied = np.array([[4, 4, 3, 2, 2]], np.uint8)
    assert smooth_labels(tied, 2)[0, 2] == 2


def test_a_speck_is_taken_by_what_surrounds_it():
    labels = np.ones((30, 30), np.uint8)
    labels[15, 15] = 2
    assert (smooth_labels(labels, 1) == 1).all()


def test_radius_zero_changes_nothing():
    labels = np.random.default_rng(1).integers(0, 5, (9, 9)).astype(np.uint8)
    np.testing.assert_array_equal(smooth_labels(labels, 0), labels)


def test_any_number_of_threads_gives_the_same_labels():
    labels = np.random.default_rng(2).integers(0, 6, (700, 90)).astype(np.uint8)
    np.testing.assert_array_equal(smooth_labels(labels, 4, 1), smooth_labels(labels, 4, 5))
